// SPDX-License-Identifier: Apache-2.0
/* exec.c: the verb exec: a command whose bpf(2) the engine answers. */
#include "cli/cli.h"

#include "cli/verb.h"
#include "host/exec.h"

static int run(const struct args *a, struct skep_err *err)
{
	const char *ports[ARGS_TEXTS_MAX];
	const struct host_exec what = {
		.engine = {.interpret = a->set[OPTION_INTERP], .unsafe = a->set[OPTION_UNSAFE]},
		.argv = a->rest,
		.ports = ports,
		.n_ports = option_texts(a, OPTION_PORTS, ports),
		.root = a->set[OPTION_ROOT],
	};

	if (what.engine.interpret && what.engine.unsafe) {
		skep_fail(err, 0, "--unsafe or --interp, not both");
		return CLI_USAGE;
	}
	return host_exec(&what, err);
}

const struct verb verb_exec = {
	.name = "exec",
	.doc = "run a command whose eBPF runs in skep's engine, not in the kernel",
	.text = "The command and its children see an empty BPF subsystem: maps, programs and links "
		"they make live in the engine and go when the command ends. It needs neither root "
		"nor a change to the command; static binaries and other languages are served alike. "
		"It is no sandbox: the command has your rights, except that no setuid program "
		"among its children gains any.\n\n"
		"Its exit status is the command's, or 128 and the signal that ended it. skep's own: "
		"125 it failed, 126 the command cannot be run, 127 there is no such command.",
	.operand = {.name = "COMMAND [ARG...]",
		    .doc = "the command; looked up in PATH",
		    .required = true,
		    .rest = true},
	.options = {OPTION_PORTS, OPTION_ROOT, OPTION_INTERP, OPTION_UNSAFE},
	.examples =
		{
			{"skep exec -- bpftool prog show",
			 "none: the engine is new, whatever the kernel runs"},
			{"skep exec --root -- bash",
			 "a shell in which only the engine's objects exist"},
			{"skep exec --port eth0=xdp:eth0 -- ./my-xdp-tool eth0",
			 "its XDP program gets the frames of eth0, in the engine"},
		},
	.run = run,
};
