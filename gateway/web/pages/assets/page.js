// Keeps a page right while somebody looks at it: fetches it again when the gateway says that something has changed, and swaps
// what differs. Keeps spans of time right, and lets the keyboard reach everything. A page works without it.

const body = document.body;
const sign = document.getElementById("live");
const FEWEST = 2000; // Milliseconds between two looks at a gateway that changes all the time.

// Live: a stream while the tab is visible.

let stream = null;
let fetching = false;
let again = false;
let retry = 0;

const show = (state) => {
  if (sign.dataset.state !== state) {
    sign.dataset.state = state;
    sign.textContent = sign.dataset[state];
  }
};

const follow = () => {
  if (stream || document.hidden || !body.dataset.live) return;
  clearTimeout(retry);
  show("connecting");
  stream = new EventSource(body.dataset.live);
  const beats = watch(40000, () => { show("lost"); stop(); later(); });
  const alive = () => { beats(); show("live"); };
  stream.addEventListener("live", () => { alive(); if (again) fetchPage(); });
  stream.addEventListener("beat", alive);
  stream.addEventListener("changed", () => { alive(); fetchPage(); });
  stream.addEventListener("ending", () => { show("lost"); again = true; });
  stream.onerror = () => {
    again = true;
    show(stream.readyState === EventSource.CLOSED ? "lost" : "connecting");
    if (stream.readyState === EventSource.CLOSED) { stop(); later(); }
  };
};

const stop = () => { stream?.close(); stream = null; };
const later = () => { clearTimeout(retry); retry = setTimeout(follow, 30000); };

// Calls `late` if nothing is heard for a while.
const watch = (milliseconds, late) => {
  let timer = setTimeout(late, milliseconds);
  return () => { clearTimeout(timer); timer = setTimeout(late, milliseconds); };
};

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stop(); clearTimeout(retry); again = true; } else follow();
});
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => { if (event.persisted) { again = true; follow(); } });

// The page again. XMLHttpRequest parses HTML without running anything in it, and without a sink that Trusted Types guard.

const fetchPage = () => {
  if (fetching) { again = true; return; }
  fetching = true;
  again = false;
  const begun = performance.now();
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.timeout = 15000;
  request.setRequestHeader("Accept", "text/html");
  request.onloadend = () => {
    const fresh = request.response;
    const same = request.responseURL.split("#")[0] === location.href.split("#")[0];
    if (fresh?.querySelector("[data-swap]") && same) swap(fresh); else show("lost");
    // A slow answer means a busy gateway: leave it nine tenths of the time.
    const pause = Math.max(FEWEST, 9 * (performance.now() - begun));
    setTimeout(() => { fetching = false; if (again && !document.hidden) fetchPage(); }, pause);
  };
  request.send();
};

const swap = (fresh) => {
  setClock(fresh.body);
  if (document.title !== fresh.title) document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-swap]")) {
    const other = fresh.querySelector(`[data-swap="${part.dataset.swap}"]`);
    if (other) sync(part, document.adoptNode(other));
  }
  tick();
};

// Makes one element like another, and touches nothing that is the same already: focus, selection and open details stay.
const sync = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  const byKey = new Map([...old.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  let here = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const keyed = next.dataset?.key && byKey.get(next.dataset.key);
    const match = keyed || (here && alike(here, next) ? here : null);
    if (!match) {
      old.insertBefore(next, here);
      continue;
    }
    if (match !== here) old.insertBefore(match, here); else here = here.nextSibling;
    if (match.nodeType === Node.ELEMENT_NODE) sync(match, next); else if (match.data !== next.data) match.data = next.data;
  }
  while (here) { const gone = here; here = here.nextSibling; gone.remove(); }
};

const alike = (one, other) =>
  one.nodeName === other.nodeName && (one.dataset?.key ?? "") === (other.dataset?.key ?? "") && !(one.id && one.id !== other.id);
const kept = (element, name) => name === "tabindex" || (name === "open" && element.nodeName === "DETAILS");

// Spans of time, in the words of the server.

const units = body.dataset.units.split("|");
const span = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return units[0].replace("{n}", whole);
  const parts = [[3, Math.floor(whole / 86400)], [2, Math.floor(whole / 3600) % 24], [1, Math.floor(whole / 60) % 60]];
  const first = parts.findIndex(([, number]) => number);
  return parts.slice(first, first + 2).filter(([, number]) => number).map(([unit, number]) => units[unit].replace("{n}", number)).join(" ");
};

// The clock of the gateway: that of this computer may differ.
let ahead = 0;
const setClock = (drawn) => { ahead = Number(drawn.dataset.now) - Date.now(); };

const tick = () => {
  for (const time of document.querySelectorAll("time[data-ago], time[data-until]")) {
    const ago = (Date.now() + ahead - Date.parse(time.dateTime)) / 1000;
    const text = "ago" in time.dataset ? body.dataset.ago.replace("{span}", span(ago)) : body.dataset.until.replace("{span}", span(-ago));
    if (time.textContent !== text) time.textContent = text;
  }
};

// Keys.

const search = document.getElementById("q");
const keys = document.getElementById("keys");
const help = document.getElementById("show-keys");

const move = (step) => {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)];
  const target = row.querySelector("a, button, summary") ?? row;
  if (target === row) row.tabIndex = -1;
  target.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
};

const actions = {
  "/": () => { search?.focus(); search?.select(); },
  "?": () => keys.showModal(),
  j: () => move(1),
  k: () => move(-1),
  n: () => document.querySelector('a[rel="next"]')?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keys.open) return;
  if (event.target.matches("input, textarea, select, [contenteditable]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const page = /^[1-9]$/.test(event.key) && document.querySelectorAll("nav a")[event.key - 1];
  const act = actions[event.key] ?? (page ? () => page.click() : null);
  if (act) { event.preventDefault(); act(); }
});

help.hidden = false;
help.addEventListener("click", () => keys.showModal());
if (body.dataset.live) show("connecting");
setClock(body);
tick();
setInterval(tick, 1000);
follow();
