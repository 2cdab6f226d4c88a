// SPDX-License-Identifier: Apache-2.0
// One bar for every view: where we are, whose data it is, and whether it is whole and live.
import { useCell } from "../cell";
import { count, text } from "../format";
import { filter, link, paused, status, streaming, streamLost } from "../model";
import { type Theme, theme } from "../prefs";
import { href, type ViewName, VIEWS } from "../route";

const LINKS = {
	connecting: "connecting",
	up: "live",
	gone: "agent gone",
	denied: "not permitted",
};

function Host() {
	const now = useCell(status);
	if (!now) return <div class="host" />;
	return (
		<div
			class="host"
			title={`skep ${text(now.agent.version)}, pid ${now.agent.pid}, ${now.host.cpus} CPUs`}
		>
			<strong>{text(now.host.name)}</strong>
			<span>
				{text(now.host.kernel)} · skep {text(now.agent.version)}
			</span>
		</div>
	);
}

function Lost() {
	const agent = useCell(status)?.lost ?? 0;
	const page = useCell(streamLost);
	if (agent + page === 0) return null;
	const why = `${agent} in the agent, ${page} because this page was too slow`;
	return (
		<a class="badge bad" href={href("status")} title={why} data-test="lost">
			{count(agent + page)} events lost
		</a>
	);
}

function Live() {
	const state = useCell(link);
	const still = useCell(paused);
	const stream = useCell(streaming);
	const up = state === "up";
	const mood = !up ? "bad" : still || !stream ? "warn" : "good";
	const says = up && still ? "paused" : up && !stream ? "polling" : LINKS[state];
	return (
		<>
			<span class={`link ${mood}`} role="status" data-test="link">
				<i aria-hidden="true" />
				{says}
			</span>
			<button
				type="button"
				aria-pressed={still}
				onClick={() => paused.set(!still)}
				data-test="pause"
			>
				{still ? "Resume" : "Pause"}
			</button>
		</>
	);
}

function Filter({ view }: { view: ViewName }) {
	const value = useCell(filter);
	const off = view === "sql";
	return (
		<label
			class="filter"
			title="Words must all occur; column:word looks in one column; -word must not occur"
		>
			<span class="unseen">Filter</span>
			<input
				id="filter"
				type="search"
				placeholder={off ? "Filter" : "Filter   /"}
				autocomplete="off"
				spellcheck={false}
				disabled={off}
				value={value}
				onInput={(e) => filter.set(e.currentTarget.value)}
				onKeyDown={(e) => {
					if (e.key !== "Escape") return;
					filter.set("");
					e.currentTarget.blur();
				}}
			/>
		</label>
	);
}

function ThemeChoice() {
	const value = useCell(theme);
	return (
		<label>
			<span class="unseen">Theme</span>
			<select
				value={value}
				onChange={(e) => theme.set(e.currentTarget.value as Theme)}
				title="Theme"
				data-test="theme"
			>
				<option value="auto">Auto</option>
				<option value="light">Light</option>
				<option value="dark">Dark</option>
			</select>
		</label>
	);
}

export function Toolbar({ view }: { view: ViewName }) {
	return (
		<header class="toolbar">
			<a class="brand" href={href("")} aria-label="skep, overview">
				<svg viewBox="0 0 32 32" aria-hidden="true">
					<path class="comb" d="M16 2 28 9v14l-12 7L4 23V9z" />
					<path class="cell" d="M16 9.5 21.6 12.7v6.6L16 22.5l-5.6-3.2v-6.6z" />
				</svg>
				skep
			</a>
			<nav aria-label="Views">
				{VIEWS.map(([name, title]) => (
					<a
						key={name}
						href={href(name)}
						aria-current={name === view ? "page" : undefined}
					>
						{title}
					</a>
				))}
			</nav>
			<Host />
			<Lost />
			<Filter view={view} />
			<Live />
			<ThemeChoice />
		</header>
	);
}
