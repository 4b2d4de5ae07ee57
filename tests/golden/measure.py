#!/usr/bin/env python3
"""Writes measure.txt: logits, labels, and what scikit-learn and scipy say about them.

    tests/golden/measure.py > tests/golden/measure.txt     (scikit-learn 1.5.2, scipy 1.17.1)

The calibration error, which neither has, is Guo et al. (2017), equation 3, on numpy. top-5 of rows with
equal logits counts the class of the lower index as the larger (scikit-learn takes the higher).
"""
import math
import warnings

import numpy as np
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn import metrics

BINS = 15
warnings.filterwarnings("ignore", category=UserWarning)


def softmax(row):
    """With libm's exp and in order, so that equal scores are equal here and there."""
    largest = max(row)
    parts = [math.exp(x - largest) for x in row]
    total = 0.0
    for part in parts:
        total += part
    return [part / total for part in parts]


def calibration_error(p, labels):
    confidence, right = p.max(1), p.argmax(1) == labels
    error = 0.0
    for m in range(1, BINS + 1):
        inside = (confidence > (m - 1) / BINS) & (confidence <= m / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def top5(logits, labels):
    order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    part = (order == labels[:, None]).any(1).mean()
    distinct = all(len(set(row)) == len(row) for row in logits.tolist())
    if distinct:
        theirs = metrics.top_k_accuracy_score(labels, logits, k=5, labels=np.arange(logits.shape[1]))
        assert abs(theirs - part) < 1e-12
    return part


def show(name, logits, labels):
    logits = np.asarray(logits, np.float32)
    labels = np.asarray(labels)
    n, classes = logits.shape
    wide = logits.astype(np.float64)
    p = np.array([softmax(row) for row in wide.tolist()])
    answers = wide.argmax(1)
    loss = -log_softmax(wide, axis=1)[np.arange(n), labels].mean()
    if wide.max() < 30:
        assert abs(loss - metrics.log_loss(labels, p, labels=np.arange(classes))) < 1e-9
    every = np.arange(classes)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, answers, labels=every, zero_division=np.nan)
    area, curves = [], []
    for c in every:
        is_c = labels == c
        if is_c.any() and not is_c.all():
            area.append(metrics.roc_auc_score(is_c, p[:, c]))
            fpr, tpr, _ = metrics.roc_curve(is_c, p[:, c], drop_intermediate=False)
            keep = [0]  # corners: where the direction changes, in whole numbers of pictures
            others, found = np.rint(fpr * (~is_c).sum()), np.rint(tpr * is_c.sum())
            for i in range(1, len(fpr) - 1):
                a, b = keep[-1], i + 1
                if (others[i] - others[a]) * (found[b] - found[i]) != \
                        (found[i] - found[a]) * (others[b] - others[i]):
                    keep.append(i)
            keep.append(len(fpr) - 1)
            curves.append([(fpr[i], tpr[i]) for i in keep])
        else:
            area.append(math.nan)
            curves.append([])
    # of classes that occur; with warnings off sklearn counts 0 / 0 of those that do as 0
    macro_f1 = metrics.f1_score(labels, answers, average="macro", zero_division=0)
    known = [a for a in area if not math.isnan(a)]
    macro_auc = float(np.mean(known)) if known else math.nan
    five = top5(wide, labels) if classes > 5 else math.nan
    print(f"case {name} {n} {classes}")
    for row, label in zip(logits, labels):
        print(label, *(f"{x:.9g}" for x in row))
    for value in (metrics.accuracy_score(labels, answers), five, loss, calibration_error(p, labels),
                  macro_f1, macro_auc):
        print(f"{value:.17g}", end=" ")
    print()
    for c in every:
        print(f"{int(support[c])} {precision[c]:.17g} {recall[c]:.17g} {f1[c]:.17g} {area[c]:.17g}",
              len(curves[c]), *(f"{x:.17g}" for point in curves[c] for x in point))
    for row in metrics.confusion_matrix(labels, answers, labels=every):
        print(*row)


random = np.random.default_rng(4)


def draw(n, classes, strength, decimals=3):
    labels = random.integers(0, classes, n)
    logits = random.standard_normal((n, classes)) * 2
    logits[np.arange(n), labels] += strength
    return np.round(logits, decimals), labels


show("ten-classes", *draw(150, 10, 2.5))
show("ties", *draw(100, 7, 1.5, 0))  # whole numbers: equal logits in a row, equal rows
logits, labels = draw(80, 8, 2)
labels[(labels == 3) | (labels == 6)] = 1  # two classes without a picture ...
logits[:, 6] = -50                         # ... and one that nobody ever claims
show("classes-without-pictures", logits, labels)
show("one-picture", [[0.25, 1.5, -2]], [1])
show("one-wrong-picture", [[0.25, 1.5, -2]], [0])
show("one-class", draw(12, 3, 1)[0], [2] * 12)
show("two-classes", *draw(60, 2, 1))
show("all-equal", np.zeros((9, 6)), [0, 1, 2, 3, 4, 5, 0, 0, 5])
show("sure", [[300, 0, -300], [0, 88, 0], [-400, 20, 10], [1000, 999, 0]], [0, 2, 2, 1])
show("perfect", np.eye(6) * 9, list(range(6)))

print("mcnemar")
for b, c in [(0, 0), (1, 0), (0, 1), (5, 5), (3, 9), (9, 3), (0, 12), (25, 40), (130, 131),
             (480, 610), (0, 3000), (4000, 4210), (100000, 101000)]:
    p = 1.0 if b + c == 0 else binomtest(b, b + c, 0.5).pvalue
    print(b, c, f"{p:.17g}")
