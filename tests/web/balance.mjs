// SPDX-License-Identifier: Apache-2.0
// The balancer of the mock agent: counters that grow with time, backends that can be drained.
const NAMES = ["shop", "dns", "mail"];

export class Balance {
	constructor(n) {
		this.begun = Date.now();
		this.draining = new Set();
		this.weightless = new Set(); // drain by their weight
		this.services = Array.from({ length: n }, (_, i) => ({
			name: NAMES[i] ?? `service-${i}`,
			vips: [`203.0.113.${10 + i}:443/tcp`, `[2001:db8::${10 + i}]:443/tcp`],
			backends: Array.from({ length: 3 }, (__, k) => `10.0.${i}.${k + 1}`),
		}));
	}

	answer() {
		const s = (Date.now() - this.begun) / 1000;
		const backend = (service, i) => (address, k) => {
			const drained = this.draining.has(`${service} ${address}`);
			const off = drained || this.weightless.has(`${service} ${address}`);
			const rate = off ? 2 : 400 / (i + 1) / (k + 1);
			const packets = Math.floor(rate * (s + 10 + Math.sin(s / 3 + k)));
			return {
				address,
				weight: off ? 0 : 3 - k,
				mode: "ipip",
				state: off ? "draining" : "live",
				drained,
				packets,
				bytes: packets * 620,
				connections: Math.floor(packets / 12),
				entries: off ? 17 : 0,
			};
		};
		return {
			services: this.services.map((x, i) => ({
				name: x.name,
				vips: x.vips,
				hash: "flow",
				slots: 512,
				settled: i > 0,
				backends: x.backends.map(backend(x.name, i)),
				dropped: i === 0 ? { echo: 31, no_neighbour: 4 } : {},
			})),
			way: { interfaces: [{ name: "eth0", native: true }], nextHop: "route", pinned: true },
		};
	}

	drain(query) {
		const service = this.services.find((s) => s.name === query.get("service"));
		const backend = query.get("backend");
		if (!service?.backends.includes(backend))
			throw Object.assign(new Error("no such backend"), { status: 400 });
		if (query.get("on") === "0") this.draining.delete(`${service.name} ${backend}`);
		else this.draining.add(`${service.name} ${backend}`);
		return {};
	}

	why(packet) {
		if (!packet?.includes(" > "))
			throw Object.assign(new Error(`'${packet}': expected 'tcp ADDR:PORT > ADDR:PORT'`), {
				status: 400,
			});
		const ours = packet.includes("203.0.113.");
		return {
			verdict: ours ? "tx" : "pass",
			reason: ours ? "forwarded" : "foreign",
			doc: ours ? "sent to a backend" : "to none of our addresses: passed",
			reaches: ours,
			steps: [{ what: "interface", text: "eth0" }],
			...(ours ? {} : { advice: "no service has this address" }),
		};
	}
}
