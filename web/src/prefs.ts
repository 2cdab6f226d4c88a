// SPDX-License-Identifier: Apache-2.0
// What the page remembers in this browser.
import { Cell } from "./cell";

function read<T>(key: string, fallback: T): T {
	try {
		const stored = localStorage.getItem(`skep.${key}`);
		return stored === null ? fallback : (JSON.parse(stored) as T);
	} catch {
		return fallback;
	}
}

function remembered<T>(key: string, fallback: T): Cell<T> {
	const cell = new Cell(read(key, fallback));
	cell.watch(() => {
		try {
			localStorage.setItem(`skep.${key}`, JSON.stringify(cell.value));
		} catch {
			// A full or forbidden storage costs the memory, not the page.
		}
	});
	return cell;
}

export type Theme = "auto" | "light" | "dark";

export const theme = remembered<Theme>("theme", "auto");
export const history = remembered<string[]>("sql.history", []);
export const draft = remembered<string>(
	"sql.draft",
	"select service, count(*) as processes from process\nwhere ended is null group by 1 order by 2 desc",
);
export const mapSeconds = remembered<number>("map.seconds", 300);

const dark = matchMedia("(prefers-color-scheme: dark)");
/** What is shown now: charts and the map take their colours anew when it changes. */
export const shownTheme = new Cell<"light" | "dark">("light");

function apply(): void {
	const wanted = theme.value === "auto" ? (dark.matches ? "dark" : "light") : theme.value;
	document.documentElement.dataset["theme"] = wanted;
	shownTheme.set(wanted);
}

theme.watch(apply);
dark.addEventListener("change", apply);
apply();

/** The value of a custom property of style.css. */
export const color = (name: string): string =>
	getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
