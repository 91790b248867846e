-- How far the capacity of a node is given out, when it was chosen last, and when it was heard of last.
ALTER TABLE virtfleet.node
    ADD COLUMN cpu_overcommit real NOT NULL DEFAULT 8 CHECK (cpu_overcommit > 0),
    ADD COLUMN memory_overcommit real NOT NULL DEFAULT 1 CHECK (memory_overcommit > 0),
    ADD COLUMN placed_at timestamptz,
    ADD COLUMN seen_at timestamptz;

-- What the VMs of a project may have in sum; null is as much as there is.
CREATE TABLE virtfleet.project (
    name text PRIMARY KEY,
    vms integer CHECK (vms >= 0),
    vcpus integer CHECK (vcpus >= 0),
    memory_mib bigint CHECK (memory_mib >= 0),
    disk_gib bigint CHECK (disk_gib >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX vm_project ON virtfleet.vm (project) WHERE state <> 'deleted';

GRANT SELECT ON virtfleet.project TO {{ postgresql_reader }}, {{ postgresql_writer }};
GRANT INSERT, UPDATE, DELETE ON virtfleet.project TO {{ postgresql_writer }}
