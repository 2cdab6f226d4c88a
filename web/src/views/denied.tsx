// SPDX-License-Identifier: Apache-2.0
// The agent wants a token and this browser has none, or an old one.

export function Denied() {
	return (
		<main class="denied" data-test="denied">
			<h1>This page needs the agent's key</h1>
			<p>
				The agent answers only who holds its token, and this browser has none, or one of an
				agent that has gone.
			</p>
			<ol>
				<li>
					Open the address that <code>skep up</code> printed when it started. It ends in{" "}
					<code>/?token=…</code>
				</li>
				<li>
					Or ask for it on that host: <code>sudo skep url</code>
				</li>
			</ol>
			<p>
				<button type="button" onClick={() => location.reload()}>
					Try again
				</button>
			</p>
		</main>
	);
}
