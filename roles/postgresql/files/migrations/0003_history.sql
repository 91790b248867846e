-- vm_history.yml looks for the events of a VM, also of one that is deleted.
CREATE INDEX event_vm ON virtfleet.event (vm, id);
CREATE INDEX vm_any_name ON virtfleet.vm (name)
