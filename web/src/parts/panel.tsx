// SPDX-License-Identifier: Apache-2.0
// The side panel: one thing in full.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
	title: string;
	kind: string;
	onClose(): void;
	children: ComponentChildren;
}

export function Panel({ title, kind, onClose, children }: Props) {
	const close = useRef(onClose);
	close.current = onClose;
	useLayoutEffect(() => {
		const onKey = (e: KeyboardEvent) => {
			if (e.key === "Escape" && !e.defaultPrevented) close.current();
		};
		addEventListener("keydown", onKey);
		return () => removeEventListener("keydown", onKey);
	}, []);
	return (
		<aside class="panel" aria-label={`${kind} ${title}`} data-test="panel">
			<header>
				<div>
					<small>{kind}</small>
					<h2 title={title}>{title}</h2>
				</div>
				<button
					type="button"
					class="quiet"
					onClick={onClose}
					aria-label="Close panel"
					title="Close (Esc)"
				>
					×
				</button>
			</header>
			<div class="panel-body">{children}</div>
		</aside>
	);
}
