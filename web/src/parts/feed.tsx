// SPDX-License-Identifier: Apache-2.0
// What happens now, newest first.
import { useMemo } from "preact/hooks";
import { useCell } from "../cell";
import { matcher } from "../filter";
import { clock, endpoint, text } from "../format";
import { feed, filter } from "../model";
import type { SkepEvent } from "../types";

function says(e: SkepEvent): string {
	const who = text(e["service"] ?? e["comm"]);
	const peer = text(e["remote_service"] ?? e["remote_addr"]);
	switch (e.event) {
		case "process.exec":
			return text(e["argv"] ?? e["exe"] ?? e["comm"]);
		case "process.fork":
			return `${text(e["comm"])} forked as ${e["pid"]}`;
		case "process.exit": {
			const how = e["signal"] ? `signal ${e["signal"]}` : `code ${e["exit_code"] ?? 0}`;
			return `${text(e["comm"])} ended, ${how}`;
		}
		case "dns":
			return `${who} asked ${text(e["type"])} ${text(e["name"])}: ${text(e["answers"] ?? e["rcode"] ?? "no answer")}`;
		case "balance.backend":
			return `${who}: ${text(e["backend"])} is ${text(e["state"])}${e["reason"] ? `, ${text(e["reason"])}` : ""}`;
		case "balance.packet": {
			const to = e["backend"] ? ` to ${text(e["backend"])}` : "";
			return `${text(e["reason"])}: ${endpoint(e["source"] as string, e["source_port"] as number)} > ${endpoint(e["destination"] as string, e["destination_port"] as number)}${to}`;
		}
		default: {
			const verb = e["direction"] === "in" ? "from" : "to";
			const end = e["error"] ? ` ${text(e["error"])}` : "";
			return `${who} ${verb} ${peer} ${endpoint(undefined, e[e["direction"] === "in" ? "local_port" : "remote_port"] as number)}${end}`;
		}
	}
}

const mood = (e: SkepEvent): string =>
	e["verdict"] === "drop" ||
	(e.event === "balance.backend" && e["state"] === "down") ||
	e["error"] || e["signal"] || (typeof e["exit_code"] === "number" && e["exit_code"] > 0)
		? "failed"
		: "";

/** A connection inside the host happens at two ends; the feed tells it once. */
const telling = (e: SkepEvent): boolean =>
	e.event !== "process.fork" && !(e["direction"] === "in" && e["remote_pid"] !== undefined);

export function Feed() {
	const all = useCell(feed);
	const match = matcher(useCell(filter));
	const events = useMemo(() => {
		const shown = all.filter((e) => telling(e) && (!match || match(e)));
		return shown.slice(-60).reverse();
	}, [all, match]);
	return (
		<section class="card feed" aria-label="Live events">
			<h2>Events</h2>
			{events.length === 0 && (
				<p class="empty">
					{match ? "No recent event matches the filter." : "Waiting for events…"}
				</p>
			)}
			<ol>
				{events.map((e, i) => (
					<li key={`${e.at}-${i}`} class={mood(e)}>
						<time>{clock(e.at)}</time>
						<span class={`kind ${e.event.split(".")[0]}`}>
							{e.event.replace(/^(process|connection|balance)\./, "")}
						</span>
						<span class="cut" title={says(e)}>
							{says(e)}
						</span>
					</li>
				))}
			</ol>
		</section>
	);
}
