/* SPDX-License-Identifier: Apache-2.0 */
/* port_inside.h: what port.c and port_tc.c share. */
#ifndef SKEP_VM_PORT_INSIDE_H
#define SKEP_VM_PORT_INSIDE_H

#include "vm/port.h"

/* Of the thread that drives ports (P1). NULL: none has it. */
struct vm_port *vm_port_find(struct skep_engine *e, uint32_t ifindex);
/* Both count what became of it. */
void vm_port_pass(struct vm_port *p, struct vm_frame *f);
void vm_port_send(struct vm_port *p, struct vm_frame *f, bool keep);

/* CLOCK_MONOTONIC in ns. */
uint64_t vm_port_clock(void);

/* The turn is over: chains that were taken for it are let go. */
void vm_tc_forget(struct vm_port *p);

/* Does the ingress chain let the frame through? Otherwise it is gone, or has gone elsewhere. */
bool vm_tc_ingress(struct vm_port *p, struct vm_frame *f);

#endif
