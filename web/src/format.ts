// SPDX-License-Identifier: Apache-2.0
// Values as a person reads them.
import type { Value } from "./types";

// Control, zero-width and direction characters are shown, not obeyed, should one ever arrive.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

export function text(value: Value | undefined): string {
	if (value === null || value === undefined) return "";
	return String(value).replace(
		INVISIBLE,
		(c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
	);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n: number | undefined): string {
	if (n === undefined) return "";
	let unit = 0;
	while (n >= 1024 && unit < UNITS.length - 1) {
		n /= 1024;
		unit++;
	}
	return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export function count(n: number | undefined): string {
	return n === undefined ? "" : n.toLocaleString("en-US").replaceAll(",", "\u202f");
}

export function rate(n: number): string {
	return n >= 100 || n === 0 ? count(Math.round(n)) : n.toFixed(1);
}

export function microseconds(us: number | undefined): string {
	if (us === undefined) return "";
	if (us < 1000) return `${us} µs`;
	if (us < 1_000_000) return `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;
	return `${(us / 1e6).toFixed(1)} s`;
}

/** A span of seconds in its two largest units. */
export function span(seconds: number): string {
	if (seconds < 0) seconds = 0;
	if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
	if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
	if (seconds < 10) return `${seconds.toFixed(1)} s`;
	const s = Math.floor(seconds);
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s`;
	if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`;
	return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const since = (ns: number, nowMs: number): string => span(nowMs / 1000 - ns / 1e9);

const two = (n: number) => String(n).padStart(2, "0");

export function clock(ns: number, millis = false): string {
	const d = new Date(ns / 1e6);
	const hms = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
	return millis ? `${hms}.${String(d.getMilliseconds()).padStart(3, "0")}` : hms;
}

export function moment(ns: number): string {
	const d = new Date(ns / 1e6);
	return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ns, true)}`;
}

export function endpoint(addr: string | undefined, port: number | undefined): string {
	if (addr === undefined) return port === undefined ? "" : `:${port}`;
	const host = addr.includes(":") ? `[${addr}]` : addr;
	return port === undefined ? host : `${host}:${port}`;
}

// capabilities(7), by bit.
const CAPS = (
	"chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable " +
	"net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot " +
	"sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease " +
	"audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read " +
	"perfmon bpf checkpoint_restore"
).split(" ");

/** The names of the bits that are set; bits without a name by number. */
export function capabilities(mask: number): string[] {
	const names: string[] = [];
	let rest = BigInt(Math.trunc(mask));
	for (let bit = 0; rest > 0n; bit++, rest >>= 1n)
		if (rest & 1n) names.push(CAPS[bit] ?? `bit_${bit}`);
	return names;
}

export const ALL_CAPABILITIES = CAPS.length;
