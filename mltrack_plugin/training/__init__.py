"""Training (extra ``[train]``): tasks, one network a file, and the loop on Lightning that runs them.

- `config`: training configurations by name or file; `settings`: their settings; `run`: a training; `tasks`, `task`:
  what a network's training provides.
- `enccla`, `enccla_local`, `encdec`, `encemb`, `encreg`, `refiner`, `unet`: the tasks; `classes`: what classifiers
  share.
- `data`: batches; `files`: own events; `left_over`: events after other algorithms took their hits; `targets`,
  `losses`.
- `warm_start`, `class_start`, `local_class_start`: initial weights of another network; `resume`, `guard`: going on
  after an interruption, stopping with a reason.
- `validation`: scores during the training; `curves`, `metrics_file`, `record`: what a training writes down.
"""
