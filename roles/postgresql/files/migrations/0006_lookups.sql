-- What claims and lists look for in every VM, and find without reading every VM: what is used of each node, who moves,
-- who is in a group, and who has a MAC, also among those that are deleted.
CREATE INDEX vm_use ON virtfleet.vm (node) INCLUDE (vcpus, memory_mib) WHERE state <> 'deleted';
DROP INDEX virtfleet.vm_node;
CREATE INDEX vm_moving ON virtfleet.vm ((spec ->> 'moving_to')) WHERE spec ? 'moving_to' AND state <> 'deleted';
CREATE INDEX vm_group ON virtfleet.vm ((spec #>> '{placement,anti_affinity,group}'))
    WHERE spec #>> '{placement,anti_affinity,group}' IS NOT NULL AND state <> 'deleted';
CREATE INDEX vm_any_mac ON virtfleet.vm (mac)
