/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube.h: Service (v1) and EndpointSlice (discovery.k8s.io/v1) of Kubernetes, as kubectl prints them.
 *
 * Each port of a Service is one of ours, NAMESPACE/NAME:PORT, of the port's name or else its number;
 * where a Service has addresses of both families that of IPv6 is NAMESPACE/NAME:PORT/v6. What we do not
 * know of these kinds is left alone; other kinds are left out, with a note.
 */
#ifndef SKEP_BALANCE_KUBE_H
#define SKEP_BALANCE_KUBE_H

#include "balance/fields.h"

struct kube;

int kube_open(struct kube **out);
void kube_free(struct kube *k);

/** kube_any() - whether a text may hold such a document: a quick look. */
bool kube_any(const char *text, size_t len);

/** kube_is() - whether a document is of another project: its apiVersion is none of skep's. */
bool kube_is(const char *doc, size_t len);

/**
 * kube_add() - one document, YAML or JSON, also a List.
 * @line: of its beginning, for messages
 */
int kube_add(struct kube *k, const char *file, unsigned line, const char *doc, size_t len,
	     struct buf *notes, struct skep_err *err);

/** kube_end() - Services and EndpointSlices of all documents together, each given to @fn. */
int kube_end(struct kube *k, conf_each_fn fn, void *arg, struct buf *notes, struct skep_err *err);

#endif
