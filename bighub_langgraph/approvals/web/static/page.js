"use strict";
// The page works without this script; with it, it stays up to date and has keys.

const PAUSE = 2000;
const RELOAD = 15; // polls, after which all is read again: a change may become visible late
const body = document.body;
const byId = (id) => document.getElementById(id);

// -- times in the reader's own zone

function showTimes(root) {
  const now = Date.now();
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const seconds = Math.round((at - now) / 1000);
    const sizes = [["second", 1], ["minute", 60], ["hour", 3600], ["day", 86400]];
    const [unit, size] = sizes.findLast(([, size]) => Math.abs(seconds) >= size) ?? sizes[0];
    const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
    time.title = at.toLocaleString();
    time.textContent = words.format(Math.trunc(seconds / size), unit);
  }
}

// -- staying up to date

function say(text) { byId("announce").textContent = text; }

function notice(text, href, words) {
  const element = byId("notice");
  element.textContent = `${text} `;
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = words;
    element.append(link);
  }
  element.hidden = false;
}

let changed = false; // something was typed into a form about this call

async function refresh() {
  const headers = { Accept: "text/html", "X-Bighub-Reload": "1" };
  const reply = await fetch(location.href, { headers });
  if (!reply.ok) return;
  const next = new DOMParser().parseFromString(await reply.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const replacement = next.getElementById(old.id);
    if (!replacement) continue;
    if (old.id === "answers") {
      if (old.dataset.version === replacement.dataset.version) continue;
      if (changed) {
        notice("This call has changed while you were typing.", location.href, "Look at it again");
        continue;
      }
      say("This call has changed.");
    }
    if (old.dataset.count !== undefined && old.dataset.count !== replacement.dataset.count) {
      say(replacement.textContent);
    }
    replace(old, document.importNode(replacement, true));
  }
  document.title = next.title;
  // What was read may be older than the newest change: then the next poll reads again.
  body.dataset.change = next.body.dataset.change;
}

function replace(old, replacement) {
  const selected = new Set([...old.querySelectorAll("input[name=call]:checked")].map((box) => box.value));
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const place = focused?.closest("[data-key]")?.dataset.key;
  const current = old.querySelector(".current")?.dataset.key;
  const [kind, id] = [focused?.tagName, focused?.id];
  for (const box of replacement.querySelectorAll("input[name=call]")) box.checked = selected.has(box.value);
  showTimes(replacement);
  old.replaceWith(replacement);
  const row = [...replacement.querySelectorAll("[data-key]")];
  row.find((item) => item.dataset.key === current)?.classList.add("current");
  const target = place ? row.find((item) => item.dataset.key === place)?.querySelector(kind) : id && byId(id);
  if (target) target.focus();
  showSelected();
}

let polls = 0;

async function poll() {
  if (!document.hidden && body.dataset.livePage) {
    try {
      const reply = await fetch(`/changes?since=${body.dataset.change}`);
      if (reply.status === 401) {
        notice("You are signed out.", location.href, "Sign in");
        return;
      }
      const { change } = await reply.json();
      const isDue = String(change) !== body.dataset.change || ++polls % RELOAD === 0;
      if (reply.ok && isDue) await refresh();
      if (reply.ok && byId("notice").dataset.lost) {
        byId("notice").hidden = true;
        delete byId("notice").dataset.lost;
      }
    } catch {
      notice("The connection is lost; trying again.");
      byId("notice").dataset.lost = "yes";
    }
  }
  setTimeout(poll, PAUSE);
}

// -- several calls at once

function showSelected() {
  const boxes = [...document.querySelectorAll("input[name=call]")];
  const selected = boxes.filter((box) => box.checked);
  const alike = selected[0]?.closest("[data-alike]").dataset.alike;
  for (const box of boxes) {
    box.disabled = alike !== undefined && box.closest("[data-alike]").dataset.alike !== alike;
  }
  const together = byId("together");
  if (!together) return;
  together.hidden = !selected.length;
  byId("selected").textContent = selected.length;
}

// -- forms

let checking;

async function check(form) {
  const data = new URLSearchParams(new FormData(form));
  const reply = await fetch(form.dataset.check, { method: "POST", body: data });
  const { error = "" } = await reply.json();
  const place = form.querySelector(".check");
  place.textContent = error || "These changes fit the tool.";
  place.classList.toggle("good", !error);
}

document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (event.target.name === "call") showSelected();
  else if (form?.closest("#answers")) changed = true;
  if (form?.dataset.check) {
    clearTimeout(checking);
    checking = setTimeout(() => check(form).catch(() => {}), 300);
  }
});

document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault(); // a double click
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// -- keys

function moveBy(step) {
  const rows = [...document.querySelectorAll(".card")];
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.classList.contains("current"));
  const next = rows[Math.min(Math.max(now + step, 0), rows.length - 1)];
  rows.forEach((row) => row.classList.toggle("current", row === next));
  next.querySelector("a.what").focus();
  next.scrollIntoView({ block: "nearest" });
}

function open(id) {
  const row = document.querySelector(".card.current") ?? document.activeElement.closest?.(".card");
  if (row) {
    location.href = `${row.querySelector("a.what").href}#${id}`;
    return;
  }
  const target = byId(id);
  if (!target) return;
  const details = target.closest("details");
  if (details) details.open = true;
  (details?.querySelector("form input:not([type=hidden]), form textarea, form select") ?? target).focus();
}

const KEYS = {
  j: () => moveBy(1),
  k: () => moveBy(-1),
  x: () => document.querySelector(".card.current input[name=call]:not(:disabled)")?.click(),
  a: () => (byId("together")?.hidden === false ? document.querySelector("#together .primary").focus() : open("approve")),
  e: () => open("edit"),
  r: () => (byId("together")?.hidden === false ? document.querySelector("#together .danger").focus() : open("reject")),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

showTimes(document);
setInterval(() => showTimes(document), 30000);
showSelected();
addEventListener("load", () => { // after the browser has moved the focus to the target itself
  if (location.hash.length > 1 && byId("answers")) open(location.hash.slice(1));
});
setTimeout(poll, PAUSE);
