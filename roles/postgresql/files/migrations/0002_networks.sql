-- A new MAC is drawn by lot, and looked for among those of all interfaces of all VMs.
CREATE INDEX vm_networks ON virtfleet.vm USING gin ((spec -> 'networks') jsonb_path_ops)
