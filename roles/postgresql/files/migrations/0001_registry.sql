CREATE TABLE virtfleet.node (
    name text PRIMARY KEY,
    address text NOT NULL,
    vcpus integer NOT NULL CHECK (vcpus > 0),
    memory_mib integer NOT NULL CHECK (memory_mib > 0),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'cordoned', 'down')),
    labels jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE virtfleet.image (
    name text PRIMARY KEY,
    size_gib integer NOT NULL CHECK (size_gib > 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE virtfleet.vm (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    project text NOT NULL,
    node text NOT NULL REFERENCES virtfleet.node (name),
    state text NOT NULL CHECK (state IN
        ('creating', 'running', 'migrating', 'stopped', 'suspended', 'deleting', 'deleted', 'error')),
    memory_mib integer NOT NULL,
    vcpus integer NOT NULL,
    disk_gib integer NOT NULL,
    image text NOT NULL,
    mac macaddr NOT NULL,
    ip inet,
    tags text[] NOT NULL DEFAULT '{}',
    spec jsonb NOT NULL DEFAULT '{}',
    protected boolean NOT NULL DEFAULT false,
    made boolean NOT NULL DEFAULT false,
    step text,
    error jsonb,
    lease_by text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX vm_name ON virtfleet.vm (name) WHERE state <> 'deleted';
CREATE UNIQUE INDEX vm_mac ON virtfleet.vm (mac) WHERE state <> 'deleted';
CREATE INDEX vm_node ON virtfleet.vm (node) WHERE state <> 'deleted';

CREATE TABLE virtfleet.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    vm uuid NOT NULL REFERENCES virtfleet.vm (id),
    actor text NOT NULL,
    action text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);

GRANT USAGE ON SCHEMA virtfleet TO {{ postgresql_writer }}, {{ postgresql_reader }};
GRANT SELECT ON ALL TABLES IN SCHEMA virtfleet TO {{ postgresql_reader }}, {{ postgresql_writer }};
GRANT INSERT, UPDATE, DELETE ON virtfleet.node, virtfleet.image TO {{ postgresql_writer }};
GRANT INSERT, UPDATE ON virtfleet.vm TO {{ postgresql_writer }};
GRANT INSERT ON virtfleet.event TO {{ postgresql_writer }}
