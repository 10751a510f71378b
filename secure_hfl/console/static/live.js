// A task's page, as it happens: parts of it and lines of its log come as server-sent events.
import { localTimes } from "./console.js";

const root = document.querySelector("[data-events]");
const log = document.querySelector("[data-log]");
const banner = document.querySelector(".connection");
const emptyLog = document.querySelector(".empty-log");
const MOST_LINES = 1500;
const AGAIN = 3000;

// What comes is drawn by this console, from the same templates as the page itself, which have escaped what they show.
const policy = window.trustedTypes?.createPolicy("live", { createHTML: (text) => text });

let source;
let last = root?.dataset.position;

function follow() {
  source = new EventSource(`${root.dataset.events}?lang=${root.dataset.lang}&after=${encodeURIComponent(last)}`);
  source.addEventListener("open", () => say(""));
  source.addEventListener("parts", (event) => {
    last = event.lastEventId;
    for (const [name, text] of Object.entries(JSON.parse(event.data))) draw(name, text);
  });
  source.addEventListener("log", (event) => {
    last = event.lastEventId;
    const { text, anew } = JSON.parse(event.data);
    write(text, anew);
  });
  source.addEventListener("error", () => {
    say(root.dataset.lost);
    if (source.readyState === EventSource.CLOSED) again();
  });
}

/** The console has ended the stream for good: it was restarted, or the session is over. */
async function again() {
  source.close();
  try {
    const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual" });
    if (answer.status === 401) say(root.dataset.signedOut);
  } catch { /* it is not back yet */ }
  setTimeout(follow, AGAIN);
}

function draw(name, text) {
  for (const part of document.querySelectorAll(`[data-live="${name}"]`)) {
    if (part.contains(document.activeElement) && document.activeElement.matches("textarea, input, select")) {
      part.addEventListener("focusout", () => setTimeout(() => swap(part, text)), { once: true });
    } else {
      swap(part, text);
    }
  }
}

/** In place of what is there; what was opened stays open, and the focus where it was. */
function swap(part, text) {
  const focused = part.contains(document.activeElement) ? describe(document.activeElement) : null;
  const open = [...part.querySelectorAll("details")].map((each) => each.open);
  const entered = new Map([...part.querySelectorAll("select[id], textarea[id], input[id]")].map((each) => [each.id, each]));
  part.innerHTML = policy ? policy.createHTML(text) : text;
  const opened = part.querySelectorAll("details");
  if (opened.length === open.length) opened.forEach((each, at) => { each.open = open[at]; });
  for (const each of part.querySelectorAll("select[id], textarea[id], input[id]")) keep(entered.get(each.id), each);
  clocks(part);
  localTimes(part);
  if (focused) part.querySelector(focused)?.focus();
}

/** What a person has chosen or typed and not sent yet. */
function keep(before, now) {
  if (!before || before.localName !== now.localName) return;
  const isOffered = now.localName !== "select" || [...now.options].some((each) => each.value === before.value);
  if (isOffered) now.value = before.value;
  if (now.type === "checkbox") now.checked = before.checked;
}

/** An end that is near needs no date. */
function clocks(part) {
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short" });
  for (const each of part.querySelectorAll("[data-clock] time")) {
    const when = new Date(each.dateTime);
    if (when - Date.now() < 20 * 3600e3) { each.textContent = clock.format(when); each.title = when.toLocaleString(); }
  }
}

function describe(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  return element.localName + (element.name ? `[name="${CSS.escape(element.name)}"]` : "");
}

function write(text, anew) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  const lines = ((anew ? "" : log.textContent) + text).split("\n");
  log.textContent = lines.slice(-MOST_LINES).join("\n");
  emptyLog.hidden = log.textContent !== "";
  if (atEnd || anew) log.scrollTop = log.scrollHeight;
}

function say(text) {
  banner.textContent = text;
  banner.hidden = !text;
}

if (log) log.scrollTop = log.scrollHeight;
if (root && window.EventSource) {
  follow();
  // A page that nobody looks at keeps no connection: browsers have six for a server.
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) follow();
  });
  window.addEventListener("pagehide", () => source.close());
}
