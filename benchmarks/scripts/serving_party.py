"""A party of a task whose predictions are measured: 20 features of each of 10,000 ids; one batch trains.

`SERVING_ROLE` says which party this is.
"""

import os

import torch
from torch import nn

from secure_hfl import HeteroNNCollaboratorScheduler, HeteroNNHostScheduler

IDS, BATCH, WIDTH = 10_000, 128, 20
HOST, COLLABORATOR = "party0", "party1"


def columns(ids, shift):
    rows = torch.tensor([int(each) for each in ids], dtype=torch.float32)[:, None]
    return torch.sin(rows * torch.arange(1 + shift, 1 + shift + WIDTH, dtype=torch.float32) * 0.37)


class Party:
    shift = 0

    def load_local_ids(self):
        return [str(each) for each in range(IDS)]

    def split_dataset(self, id_intersection):
        ordered = sorted(id_intersection, key=int)
        return ordered[:BATCH], ordered[BATCH : 2 * BATCH]

    def build_feature_model(self):
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def build_feature_optimizer(self, feature_model):
        return torch.optim.SGD(feature_model.parameters(), lr=0.01)

    def batches(self, model, ids):
        return iter([model(columns(ids, self.shift))])

    def iterate_prediction_feature(self, feature_model, ids):
        return self.batches(feature_model, ids)


class Collaborator(Party, HeteroNNCollaboratorScheduler):
    shift = 7

    def iterate_train_feature(self, feature_model, train_ids):
        return self.batches(feature_model, train_ids)

    iterate_test_feature = iterate_train_feature


class Host(Party, HeteroNNHostScheduler):
    def build_infer_model(self):
        return nn.Linear(2 * WIDTH, 2)

    def build_infer_optimizer(self, infer_model):
        return torch.optim.SGD(infer_model.parameters(), lr=0.01)

    def iterate_train_feature(self, feature_model, train_ids):
        return ((each, torch.zeros(len(each), dtype=torch.long)) for each in self.batches(feature_model, train_ids))

    iterate_test_feature = iterate_train_feature

    def fused(self, features):
        return self.infer_model(torch.cat([features[HOST], features[COLLABORATOR]], dim=1))

    def train_a_batch(self, features, labels):
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.fused(features), labels).backward()
        self.optimizer.step()

    def test(self, batches, labels):
        pass

    def predict_a_batch(self, features):
        return self.fused(features)


if os.environ["SERVING_ROLE"] == HOST:
    Host(feature_key=HOST, max_rounds=1, log_rounds=0).launch_task("YOUR_TASK_ID")
else:
    Collaborator(feature_key=COLLABORATOR).launch_task("YOUR_TASK_ID")
