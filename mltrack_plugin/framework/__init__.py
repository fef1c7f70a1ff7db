"""The framework: what runs a sequence of algorithms over the events of an input.

- `algorithm`: `Algorithm`, `Reader`, `Writer`, their settings and declared data handles; `source`: what a reader is
  shown of an input; `event_store`: the append-only store of one event.
- `sequencer`: `Sequencer`, what users build; `chain`: the check of a sequence before the first event; `options`: how
  it runs; `job_run`: one run of it.
- `event_loop`: events one after the other, in one process; `workers`: processes that share them; `packing`: results
  as bytes between processes.
- `journal`: finished events of an interrupted job; `provenance`: what decides a result, as text.
- `summary`: what was done, skipped, and how long it took; `timing`: times per event in a file of their own.
"""
