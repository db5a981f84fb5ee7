"""Lightning on two processes, by itself: `python lightning_on_ranks.py FOLDER` leaves what each ended with."""

from __future__ import annotations

import sys
import warnings

import torch
from foreign import required

required("lightning.pytorch")
import lightning.pytorch as L  # noqa: E402
from loop import EPOCHS, EXAMPLE, loader  # noqa: E402

from compressor.integrations.lightning import CompressionCallback  # noqa: E402

if __name__ == "__main__":
    from test_lightning import Classifier

    warnings.simplefilter("ignore")
    callback = CompressionCallback(EXAMPLE, network="net", target_macs=0.5, saliency="weights", align=1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=EPOCHS, callbacks=[callback], **quiet)
    model = Classifier()
    trainer.fit(model, loader())
    found = {"state": model.net.state_dict(), "macs": callback.projection.macs}
    torch.save(found, f"{sys.argv[1]}/{trainer.global_rank}.pt")
