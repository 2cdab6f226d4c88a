/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ops.h: one operation on a map from the program's side, as diff.c hands it to ops.bpf.c.
 *
 * An array of them stands in the object's .bss, which diff.c maps: no system call an operation.
 */
#ifndef SKEP_TESTS_MAP_OPS_H
#define SKEP_TESTS_MAP_OPS_H

#define OPS_MAX	  64   /* a run */
#define KEY_MAX	  32   /* bytes that programs handle */
#define VALUE_MAX 64   /* bytes */
#define EACH_MAX  256  /* elements that for_each records */
#define DATA_MAX  4096 /* bytes of a ring record that programs write */

enum prog_kind {
	PROG_LOOKUP,
	PROG_ADD, /* looks up, and adds one to the value's last byte in place */
	PROG_LOOKUP_PERCPU,
	PROG_UPDATE,
	PROG_DELETE,
	PROG_PUSH,
	PROG_POP,
	PROG_PEEK,
	PROG_EACH,	  /* stops after @arg calls */
	PROG_EACH_DELETE, /* deletes each */
	PROG_INNER_LOOKUP,
	PROG_OUTPUT,
	PROG_SUBMIT,
	PROG_DISCARD,
	PROG_SUBMIT_TWO, /* reserves two, submits the second first */
	PROG_QUERY,
	PROG_DRAIN, /* stops after @arg calls */
};

struct prog_op {
	__u32 kind, arg;
	__u64 flags;
	__s64 ret;
	__u8 key[KEY_MAX];
	__u8 value[VALUE_MAX]; /* in and out */
};

#endif
