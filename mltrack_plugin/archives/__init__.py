"""Model archives: one file with a network and its card, checked before it is used, never unpickled.

- `archive`: `load_model`, and the writers of the three formats `torchscript` (.pt), `exported` (.pt2), `onnx_format`.
- `card`: what a network expects, returns and was trained on; `features`: its inputs from hits.
- `track_model`: a loaded network applied to events; `eager`: as an ordinary torch module; `encemb_small`: compiled,
  for small events.
- `manifest`: shipped models by name; `register`: adding one.
- `checkpoint`: checkpoints of ``mltrack train``; `trackformers`: published ones of EncReg; `safezip`: zip files of
  unknown origin.
"""
