// SPDX-License-Identifier: Apache-2.0
// Services, their backends with live rates, what was not forwarded and why, and one packet asked about.
import { useState } from "preact/hooks";
import { api, ApiError } from "../api";
import { backendKey } from "../balance";
import { useCell } from "../cell";
import { matcher } from "../filter";
import { bytes, count, rate, text } from "../format";
import { balance, balanceRates, filter, polls } from "../model";
import { Spark } from "../parts/spark";
import type { BalanceBackend, BalanceHealth, BalanceService, Row, Why } from "../types";

const SHOWN = 40;

const MOODS: Record<string, string> = { live: "good", draining: "warn", ejected: "warn", gone: "bad", down: "bad" };

/** What a person can do about a reason. */
const REASONS: Record<string, string> = {
	unserved: "to the address, but no service has this port and protocol: passed to the host",
	echo: "pings, answered here",
	too_big_told: "would not fit the way to the backend: the sender was told",
	too_big: "would not fit the way to the backend, and the sender may not be told",
	malformed: "headers contradict each other or end early",
	fragment: "a fragment whose first was not seen",
	no_backend: "the service has no backend that takes connections",
	no_route: "the host has no route to the backend",
	no_neighbour: "the next hop's link address was not known yet",
	no_room: "no room in front of the packet for another header",
};

type Act = (what: () => Promise<unknown>) => void;

const healthSays = (h: BalanceHealth): string =>
	`${count(h.probes)} probes${h.via === "tunnel" ? " through the tunnel" : ""}, ${count(h.failures)} failed, the last took ${(h.us / 1000).toFixed(1)} ms`;

function State({ backend }: { backend: BalanceBackend }) {
	const health = backend.health;
	return (
		<>
			<span class={`badge ${MOODS[backend.state] ?? ""}`}>{text(backend.state)}</span>
			{health?.asked && (
				<span class={`badge ${health.up ? "good" : "bad"}`} data-test="health" title={healthSays(health)}>
					{health.up ? "up" : text(health.reason || "down")}
				</span>
			)}
		</>
	);
}

function BackendRow({
	service,
	backend,
	most,
	act,
}: {
	service: string;
	backend: BalanceBackend;
	most: number;
	act: Act;
}) {
	const rates = balanceRates.get(service, backend);
	const off = backend.drained;
	const share = most > 0 ? (100 * (rates?.packets ?? 0)) / most : 0;
	return (
		<tr>
			<th scope="row" class="mono">
				{text(backend.address)}
				{backend.was && ` (was ${backend.was})`}
			</th>
			<td>
				<State backend={backend} />
			</td>
			<td class="end">{backend.weight}</td>
			<td class="lb-spark">
				{rates && (
					<Spark series={rates.series} label={`packets a second to ${backend.address}`} />
				)}
			</td>
			<td class="lb-share">
				<span class="track">
					<i style={{ width: `${Math.min(100, share)}%` }} />
				</span>
			</td>
			<td class="end">{rates?.fresh ? `${rate(rates.packets)}/s` : "…"}</td>
			<td class="end">{rates?.fresh ? `${bytes(rates.bytes)}/s` : "…"}</td>
			<td class="end">{rates?.fresh ? `${rate(rates.connections)}/s` : "…"}</td>
			<td class="end">{count(backend.connections)}</td>
			<td class="end">{count(backend.entries)}</td>
			<td class="end">
				<button
					type="button"
					disabled={(backend.state === "gone" && !off) || !!backend.was}
					title={
						off
							? "It gets new connections again"
							: "It keeps its connections and gets no new ones"
					}
					onClick={() => act(() => api.drain(service, backend.address, !off))}
				>
					{off ? "Undrain" : "Drain"}
				</button>
			</td>
		</tr>
	);
}

function Dropped({ service }: { service: BalanceService }) {
	const reasons = Object.entries(service.dropped).sort((a, b) => b[1] - a[1]);
	if (reasons.length === 0) return null;
	return (
		<p class="lb-reasons">
			<span class="muted">not forwarded:</span>
			{reasons.map(([name, n]) => (
				<span
					key={name}
					class={`badge ${["echo", "too_big_told", "unserved"].includes(name) ? "" : "warn"}`}
					title={REASONS[name] ?? name}
				>
					{text(name)} {count(n)}
				</span>
			))}
		</p>
	);
}

function ServiceCard({ service, act }: { service: BalanceService; act: Act }) {
	const rates = service.backends.map((b) => balanceRates.get(service.name, b));
	const sum = (what: "packets" | "bytes" | "connections") =>
		rates.reduce((n, r) => n + (r?.[what] ?? 0), 0);
	const most = Math.max(0, ...rates.map((r) => r?.packets ?? 0));
	const live = service.backends.filter((b) => b.state === "live").length;
	const mood = live === 0 ? "bad" : live < service.backends.length ? "warn" : "good";
	return (
		<section class="card lb-service" aria-label={`Service ${service.name}`}>
			<div class="card-head">
				<h2>
					{text(service.name)}
					<small class="mono">{service.vips.map(text).join("  ")}</small>
				</h2>
				<span class={`badge ${mood}`}>
					{live} of {service.backends.length} live
				</span>
				{!service.settled && (
					<span class="badge" title="Connections from before the last change have entries of their own">
						ring changed
					</span>
				)}
				<span class="lb-sum">
					{rates.some((r) => r?.fresh)
						? `${rate(sum("connections"))} connections/s · ${rate(sum("packets"))} packets/s · ${bytes(sum("bytes"))}/s`
						: "rates come with the next answer"}
				</span>
			</div>
			<table class="plain lb-backends">
				<thead>
					<tr>
						<th>Backend</th>
						<th>State</th>
						<th class="end">Weight</th>
						<th colSpan={2}>Packets, last minutes · share</th>
						<th class="end">Packets</th>
						<th class="end">Bytes</th>
						<th class="end">New</th>
						<th class="end">Connections</th>
						<th class="end" title="Of the flow table: connections that the ring alone does not tell">
							Entries
						</th>
						<th />
					</tr>
				</thead>
				<tbody>
					{service.backends.map((b) => (
						<BackendRow
							key={backendKey(service.name, b)}
							service={service.name}
							backend={b}
							most={most}
							act={act}
						/>
					))}
				</tbody>
			</table>
			<Dropped service={service} />
		</section>
	);
}

function WhyCard() {
	const [answer, setAnswer] = useState<Why | string | undefined>(undefined);
	const ask = async (e: Event) => {
		e.preventDefault();
		const form = new FormData(e.currentTarget as HTMLFormElement);
		try {
			setAnswer(await api.why(String(form.get("packet"))));
		} catch (error) {
			setAnswer(error instanceof ApiError ? error.message : String(error));
		}
	};
	return (
		<section class="card lb-why" aria-label="Why">
			<form class="card-head" onSubmit={(e) => void ask(e)}>
				<h2>Why</h2>
				<label class="spring">
					<span class="unseen">Packet</span>
					<input
						name="packet"
						class="mono"
						placeholder="tcp 198.51.100.7:40000 > 203.0.113.10:443"
						required
					/>
				</label>
				<button type="submit">Ask</button>
			</form>
			{typeof answer === "string" && (
				<p class="error" role="alert">
					{text(answer)}
				</p>
			)}
			{typeof answer === "object" && (
				<dl class="fields" data-test="why">
					{answer.steps.map((s, i) => (
						<div key={i}>
							<dt>{text(s.what)}</dt>
							<dd>{text(s.text)}</dd>
						</div>
					))}
					<div>
						<dt>verdict</dt>
						<dd>
							<span class={`badge ${answer.reaches ? "good" : "bad"}`}>
								{text(answer.verdict)}
							</span>{" "}
							{text(answer.reason)}: {text(answer.doc)}
							{answer.advice && <span class="fix">{text(answer.advice)}</span>}
						</dd>
					</div>
				</dl>
			)}
		</section>
	);
}

export function BalanceView() {
	const known = useCell(balance);
	const box = useCell(filter);
	const refused = useCell(polls.balance.error);
	const [failed, setFailed] = useState<string | undefined>(undefined);
	const match = matcher(box);
	const all = known?.services ?? [];
	const found = match ? all.filter((s) => match(s as unknown as Row)) : all;
	const act: Act = (what) => {
		setFailed(undefined);
		what()
			.then(() => polls.balance.kick())
			.catch((e: unknown) => setFailed(e instanceof Error ? e.message : String(e)));
	};
	const error = failed ?? refused;
	return (
		<div class="lb">
			<section class="card">
				<div class="card-head">
					<h2>
						{count(all.length)} {all.length === 1 ? "service" : "services"}
						<small>
							{known?.way.interfaces
								.map((i) => `${text(i.name)}${i.native ? "" : " (generic XDP)"}`)
								.join(", ") || "on no interface"}
							{known && !known.way.pinned && ", ends with the agent"}
						</small>
					</h2>
				</div>
				{error && (
					<p class="error" role="alert">
						{text(error)}
					</p>
				)}
			</section>
			<WhyCard />
			{found.slice(0, SHOWN).map((s) => (
				<ServiceCard key={s.name} service={s} act={act} />
			))}
			{found.length > SHOWN && (
				<p class="empty">
					{count(found.length - SHOWN)} more: the filter finds them by name or address.
				</p>
			)}
			{known && all.length === 0 && (
				<p class="empty">
					No service is balanced. <code>skep apply -f services.yaml</code> brings some;{" "}
					<code>skep help balance</code> shows how.
				</p>
			)}
			{known && all.length > 0 && found.length === 0 && (
				<p class="empty">No service matches the filter.</p>
			)}
			{!known && !error && <p class="empty">Asking the agent…</p>}
		</div>
	);
}
