-- Where addresses come from that VMs ask for without naming one; see module_utils/subnet.py for what a definition holds.
CREATE TABLE virtfleet.subnet (
    name text PRIMARY KEY,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT ON virtfleet.subnet TO {{ postgresql_reader }}, {{ postgresql_writer }};
GRANT INSERT, UPDATE, DELETE ON virtfleet.subnet TO {{ postgresql_writer }}
