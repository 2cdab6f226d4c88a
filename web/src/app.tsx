// SPDX-License-Identifier: Apache-2.0
// The frame: toolbar, banner, and the view the address names.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { useCell } from "./cell";
import { clock, text } from "./format";
import { filter, lastAnswer, link, paused, status } from "./model";
import { Toolbar } from "./parts/toolbar";
import { route, VIEWS, type ViewName } from "./route";
import { BalanceView } from "./views/balance";
import { Connections } from "./views/connections";
import { Denied } from "./views/denied";
import { Dns } from "./views/dns";
import { Overview } from "./views/overview";
import { Processes } from "./views/processes";
import { Sql } from "./views/sql";
import { StatusView } from "./views/status";

const PAGES: Record<ViewName, () => preact.JSX.Element> = {
	"": Overview,
	processes: Processes,
	connections: Connections,
	dns: Dns,
	balance: BalanceView,
	sql: Sql,
	status: StatusView,
};

function typing(e: KeyboardEvent): boolean {
	const at = e.target as HTMLElement;
	return /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || at.isContentEditable;
}

function onKey(e: KeyboardEvent): void {
	if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || typing(e)) return;
	const box = document.getElementById("filter") as HTMLInputElement | null;
	if (!box || box.disabled) return;
	e.preventDefault();
	box.select();
}

function Banner() {
	const state = useCell(link);
	const since = useCell(lastAnswer);
	return (
		<div aria-live="assertive" class="banner-place">
			{state === "gone" && (
				<p class="banner" data-test="gone">
					<strong>The agent does not answer.</strong> Trying again every 2 seconds.
					{since > 0 && ` What you see is from ${clock(since * 1e6)}.`}
				</p>
			)}
		</div>
	);
}

function Title({ view }: { view: ViewName }) {
	const host = useCell(status)?.host.name;
	const name = VIEWS.find(([v]) => v === view)![1];
	useEffect(() => {
		document.title = `${name}${host ? ` · ${text(host)}` : ""} · skep`;
	}, [name, host]);
	return <h1 class="unseen">{name}</h1>;
}

/** A view that breaks takes nothing but itself down. */
function Guard({ children }: { children: ComponentChildren }) {
	const [error] = useErrorBoundary((e) => console.error(e));
	if (!error) return <>{children}</>;
	return (
		<p class="error" role="alert">
			This view broke: {text(String(error))}. The other views still work; please report it.
		</p>
	);
}

export function App() {
	const { view } = useCell(route);
	const state = useCell(link);
	const still = useCell(paused);
	useEffect(() => {
		addEventListener("keydown", onKey);
		return () => removeEventListener("keydown", onKey);
	}, []);
	useEffect(() => filter.set(""), [view]);
	if (state === "denied") return <Denied />;
	const Page = PAGES[view];
	const skip = (e: Event) => {
		e.preventDefault();
		document.getElementById("main")?.focus();
	};
	return (
		<div class={`app${still ? " paused" : ""}`}>
			<a class="skip" href="#main" onClick={skip}>
				Skip to content
			</a>
			<Toolbar view={view} />
			<Banner />
			<main id="main" tabIndex={-1} class={`view view-${view || "overview"}`}>
				<Title view={view} />
				<Guard key={view}>
					<Page />
				</Guard>
			</main>
		</div>
	);
}
