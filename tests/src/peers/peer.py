"""What a careful user writes without Limbic: transformers for the states, scikit-learn for the probes.

peer.py serve MODEL            answers one line of JSON with another, until its input ends
peer.py whole MODEL ROWS OUT N DTYPE  the whole study as one script: load, extract in batches of N, fit every layer, write a table

MODEL is a folder or a .gguf file. Times are measured here, around the work alone.
"""

import csv
import json
import os
import sys
import time

import numpy as np


class Models:
    """Causal models by number format and device; each is loaded once. A folder without weights gives a model before training."""

    def __init__(self, source):
        self.source, self.loaded = source, {}

    def names(self):
        if self.source.endswith(".gguf"):
            folder, file = os.path.split(os.path.abspath(self.source))
            return folder, {"gguf_file": file}
        return self.source, {}

    def get(self, dtype, device="cpu"):
        if (dtype, device) not in self.loaded:
            import torch
            from transformers import AutoConfig, AutoModelForCausalLM

            source, options = self.names()
            if options or any(name.endswith((".safetensors", ".bin")) for name in os.listdir(source)):
                model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype), **options)
            else:
                with torch.device(device):
                    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source), dtype=getattr(torch, dtype))
            model = model.eval().to(device)
            model.generation_config.eos_token_id = None  # every reply has as many tokens as are asked for
            self.loaded[dtype, device] = model
        return self.loaded[dtype, device]

    def tokenizer(self):
        from transformers import AutoTokenizer

        source, options = self.names()
        return AutoTokenizer.from_pretrained(source, **options)


def batches(rows, size):
    """Indices of rows by falling length, so that a batch's rows are about as long as one another."""
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    return [order[first : first + size] for first in range(0, len(order), size)]


def padded(rows, left=False, width=None):
    """Token ids and attention mask of some rows; padding may hold any token, for it is masked."""
    import torch

    width = width or max(map(len, rows))
    ids, mask = torch.zeros((len(rows), width), dtype=torch.long), torch.zeros((len(rows), width), dtype=torch.long)
    for at, row in enumerate(rows):
        row = row[:width]
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[at, place] = torch.tensor(row)
        mask[at, place] = 1
    return ids, mask


def last_states(decoder, rows, batch):
    """The state of each row's last token at every layer, [rows, layers, width], of one pass a batch."""
    import torch

    found, device = None, decoder.device
    with torch.inference_mode():
        for chosen in batches(rows, batch):
            ids, mask = (tensor.to(device) for tensor in padded([rows[row] for row in chosen]))
            hidden = decoder(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
            at, last = torch.arange(len(chosen), device=device), mask.sum(1) - 1
            states = torch.stack([layer[at, last] for layer in hidden], 1).float().cpu().numpy()
            if found is None:
                found = np.zeros((len(rows),) + states.shape[1:], np.float32)
            found[chosen] = states
    return found


def extract(models, ask, rows):
    decoder = models.get(ask["dtype"], ask.get("device", "cpu")).base_model
    began = time.perf_counter()
    found = last_states(decoder, rows, ask["batch"])
    seconds = time.perf_counter() - began
    if ask.get("out"):
        found.tofile(ask["out"])
    return {"seconds": seconds, "shape": found.shape}


def naive(models, ask, rows):
    """A pass of its own for every layer, everything padded to one width: what many published scripts do."""
    import torch

    decoder = models.get(ask["dtype"]).base_model
    began = time.perf_counter()
    with torch.inference_mode():
        for layer in ask["layers"]:
            for first in range(0, len(rows), ask["batch"]):
                ids, mask = padded(rows[first : first + ask["batch"]], width=ask["width"])
                hidden = decoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer]
                hidden[torch.arange(len(ids)), mask.sum(1) - 1].float().numpy()
    return {"seconds": time.perf_counter() - began}


def continuation(models, ask, rows):
    """Greedy replies, then a second pass over prompts and replies that reads every layer at some reply tokens."""
    import torch

    model, tokens = models.get(ask["dtype"]), ask["tokens"]
    replies, generating, reading = [None] * len(rows), 0.0, 0.0
    with torch.inference_mode():
        for chosen in batches(rows, ask["batch"]):
            began = time.perf_counter()
            ids, mask = padded([rows[row] for row in chosen], left=True)
            whole = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0
            )
            generating += time.perf_counter() - began
            began = time.perf_counter()
            mask = torch.cat([mask, torch.ones((len(chosen), tokens), dtype=torch.long)], 1)
            places = (mask.cumsum(1) - 1).clamp(min=0)
            hidden = model.base_model(
                input_ids=whole, attention_mask=mask, position_ids=places, output_hidden_states=True, use_cache=False
            ).hidden_states
            at = [ids.shape[1] - 1 + offset for offset in ask["offsets"]]
            torch.stack([layer[:, at] for layer in hidden], 1).float().numpy()
            reading += time.perf_counter() - began
            for place, row in enumerate(chosen):
                replies[row] = whole[place, ids.shape[1] :].tolist()
    return {"seconds": generating + reading, "generating": generating, "reading": reading, "replies": replies}


def regression(x, labels, train, strength):
    """Standardised logistic regression, with what it minimises: strength * (sum of log-losses) + |w|^2 / 2."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x[train])
    probe = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(x[train]), labels[train])
    return scaler, probe


def objective(scaler, probe, x, labels, strength):
    scores = scaler.transform(x).astype(np.float64) @ probe.coef_.astype(np.float64).T + probe.intercept_
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], 1)
    top = scores.max(1, keepdims=True)
    normed = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
    loss = -normed[np.arange(len(x)), np.searchsorted(probe.classes_, labels)].sum()
    return float(strength * loss + 0.5 * (probe.coef_.astype(np.float64) ** 2).sum())


def fit(ask):
    from joblib import Parallel, delayed

    states = np.fromfile(ask["states"], np.float32).reshape(ask["layers"], -1, ask["width"])
    labels, train = np.array(ask["labels"]), np.array(ask["train"])
    began, one = time.perf_counter(), delayed(regression)
    # Several jobs are processes with a thread each; one job is this process, with all threads that NumPy takes.
    probes = Parallel(n_jobs=ask["jobs"])(one(x, labels, train, ask["strength"]) for x in states)
    seconds = time.perf_counter() - began
    objectives = [objective(*probe, x[train], labels[train], ask["strength"]) for probe, x in zip(probes, states)]
    return {"seconds": seconds, "objectives": objectives, "iterations": [int(probe.n_iter_.max()) for _, probe in probes]}


def serve(source):
    """Libraries may print what they like; the answers have standard output for themselves."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    models, tasks = Models(source), {"extract": extract, "naive": naive, "continuation": continuation}
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            if ask["task"] == "load":
                answer = {"parameters": models.get(ask["dtype"]).num_parameters()}
            elif ask["task"] == "versions":
                answer = versions()
            elif ask["task"] == "fit":
                answer = fit(ask)
            else:
                with open(ask["rows"]) as file:
                    rows = json.load(file)
                answer = tasks[ask["task"]](models, ask, rows)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def versions():
    import sklearn
    import torch
    import transformers

    return {
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def whole(source, path, out, batch, dtype):
    from sklearn.metrics import f1_score

    with open(path) as file:
        rows = [json.loads(line) for line in file]
    models = Models(source)
    tokenizer, decoder = models.tokenizer(), models.get(dtype).base_model
    states = last_states(decoder, [tokenizer(row["text"])["input_ids"] for row in rows], int(batch))
    labels, splits = np.array([row["label"] for row in rows]), np.array([row["split"] for row in rows])
    train, test = splits == "train", splits == "test"
    with open(out, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["layer", "accuracy", "macro_f1"])
        for layer in range(states.shape[1]):
            x = states[:, layer]
            scaler, probe = regression(x, labels, train, 1.0)
            found = probe.predict(scaler.transform(x[test]))
            table.writerow([layer, (found == labels[test]).mean(), f1_score(labels[test], found, average="macro")])


if __name__ == "__main__":
    {"serve": serve, "whole": whole}[sys.argv[1]](*sys.argv[2:])
