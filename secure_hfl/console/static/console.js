// What every page has. Without scripts all pages still work: times stay in UTC.

const date = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
const full = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "full", timeStyle: "long" });

/** Put the <time> elements below a node into local time. */
export function localTimes(root) {
  for (const each of root.querySelectorAll("time[datetime]:not([title])")) {
    const when = new Date(each.dateTime);
    if (!Number.isNaN(when.getTime())) {
      each.textContent = date.format(when);
      each.title = full.format(when);
    }
  }
}

/** Send something to this console, with the token that its forms have. */
export function send(path, fields = {}) {
  const headers = { "x-form-token": document.body.dataset.formToken ?? "" };
  return fetch(path, { method: "POST", headers, body: new URLSearchParams(fields), redirect: "follow" });
}

localTimes(document);

// A form that does something is sent once, and shows that it is at work.
document.addEventListener("submit", ({ target }) => {
  if (target.matches("[data-once]")) {
    target.setAttribute("aria-busy", "true");
    // After it was sent: what is disabled is not.
    setTimeout(() => target.querySelectorAll("button").forEach((each) => (each.disabled = true)));
  }
});
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

// What runs without events of its own: look again, unless somebody is reading or typing there.
const watched = document.querySelector("[data-reload]");
if (watched) {
  setInterval(() => {
    if (document.visibilityState === "visible" && document.getSelection()?.isCollapsed !== false) {
      location.reload();
    }
  }, 1000 * Number(watched.dataset.reload));
}
