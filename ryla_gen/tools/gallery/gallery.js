"use strict";
// Every text goes into the page as text, never as markup: a prompt may be anything.

const BATCH = 60; // cards made at a time: more than two screens of them
const NEAR = "600px"; // how far outside the window videos are loaded
const MOST_MARKED = 2;
const data = JSON.parse(document.getElementById("data").textContent);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const at = (id) => document.getElementById(id);
const state = { shown: [], made: 0, current: 0, marked: [], open: null };

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// -- words for numbers ------------------------------------------------------------------------------------------------

const money = (usd) => (usd === 0 ? "$0" : `$${usd < 0.1 ? usd.toFixed(4) : usd.toFixed(2)}`);
const seconds = (value) => (value < 100 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const titled = (item) => item.workflow.replaceAll("_", "-");
const when = (text) => {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
};
const alternative = (item) => `${item.kind === "video" ? "Video" : "Picture"} by ${titled(item)}: ${(item.prompt || item.name).slice(0, 200)}`;

// -- filter and sort --------------------------------------------------------------------------------------------------

function haystack(item) {
  item.hay ??= [item.prompt, item.workflow, titled(item), item.seed ?? "", item.name, item.backend ?? "", item.job ?? "", ...item.tags, ...Object.values(item.fields)]
    .join("\n").toLowerCase();
  return item.hay;
}

const down = (key) => (a, b) => (b[key] ?? -1) - (a[key] ?? -1);
const ORDERS = {
  newest: () => 0, // the data comes so
  cost: down("cost_usd"),
  time: down("seconds"),
  // Seeds go to 2^64 - 1, beyond this language's numbers: compared as the digits they are.
  seed: (a, b) => (a.seed === null) - (b.seed === null) || (a.seed ?? "").length - (b.seed ?? "").length || ((a.seed ?? "") < (b.seed ?? "") ? -1 : (a.seed ?? "") > (b.seed ?? "") ? 1 : 0),
};

function choose() {
  const words = at("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const workflow = at("workflow").value;
  const kind = at("kind").value;
  state.shown = data.items
    .filter((item) => (!workflow || item.workflow === workflow) && (!kind || item.kind === kind) && words.every((word) => haystack(item).includes(word)))
    .sort(ORDERS[at("sort").value] ?? ORDERS.newest);
  state.made = 0;
  state.current = 0;
  watcher.disconnect();
  at("grid").replaceChildren();
  more();
  summarise();
}

function summarise() {
  const [shown, all] = [state.shown.length, data.items.length];
  const jobs = new Map(state.shown.map((item, index) => [item.job ?? index, item])); // files of one job share its cost
  let cost = 0, time = 0, known = false;
  for (const item of jobs.values()) {
    cost += item.cost_usd ?? 0;
    time += item.seconds ?? 0;
    known ||= item.cost_usd !== null;
  }
  const count = shown === all ? all.toLocaleString() : `${shown.toLocaleString()} of ${all.toLocaleString()}`;
  at("summary").textContent = [`${count} ${all === 1 ? "file" : "files"}`, known ? money(cost) : "", time > 0 ? seconds(time) : ""].filter(Boolean).join(" · ");
  at("empty").hidden = shown > 0;
  at("empty").textContent = all
    ? "Nothing fits this filter. Escape empties it."
    : `No picture or video here says how it was made.${data.skipped ? `\n${data.skipped} ${data.skipped === 1 ? "file without a note was" : "files without a note were"} left out.` : ""}\nMake one: ryla-gen run flux-dev "a lighthouse at dusk, red roof"`;
}

// -- the grid ---------------------------------------------------------------------------------------------------------

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    // Browsers hold few videos at once, so those out of sight let go of theirs.
    if (isIntersecting && !target.src) target.src = `${target.dataset.source}#t=0.05`;
    else if (!isIntersecting && target.src) {
      target.removeAttribute("src");
      target.load();
    }
  }
}, { rootMargin: NEAR });

function picture(item, place) {
  const missing = () => place.classList.add("missing");
  if (item.media_type.startsWith("video/")) {
    const video = element("video", { muted: true, loop: true, playsInline: true, preload: "metadata", ariaLabel: alternative(item), onerror: missing });
    video.dataset.source = item.url;
    video.tabIndex = -1;
    watcher.observe(video);
    return video;
  }
  const image = element("img", { loading: "lazy", decoding: "async", alt: alternative(item), onerror: missing });
  if (item.moving && calm.matches) image.onload = () => still(image, item);
  image.src = item.url;
  return image;
}

function still(image, item) {
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight, role: "img", ariaLabel: alternative(item) });
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.replaceWith(canvas);
}

function card(item, index) {
  const thumb = element("span", { className: "thumb" });
  thumb.append(picture(item, thumb));
  if (item.kind === "video") thumb.append(element("span", { className: "kind", textContent: "video" }));
  const numbers = [item.seconds === null ? "" : seconds(item.seconds), item.cost_usd === null ? "" : money(item.cost_usd)].filter(Boolean).join(" · ");
  const text = element("span", { className: "words" },
    element("span", { className: "prompt", textContent: item.prompt.slice(0, 300) || item.name }),
    element("span", { className: "facts" },
      element("span", { textContent: item.seed === null ? titled(item) : `${titled(item)} · ${item.seed}` }),
      element("span", { className: "numbers", textContent: numbers })));
  const open = element("button", { type: "button", className: "open", onclick: () => view(index), onfocus: () => { settle(index); play(thumb, true); }, onblur: () => play(thumb, false) }, thumb, text);
  const mark = element("button", { type: "button", className: "mark", title: "Mark for comparison (c)", onclick: () => toggle(item) });
  const made = element("li", { className: "card", onmouseenter: () => play(thumb, true), onmouseleave: () => play(thumb, false) }, open, mark);
  item.card = made;
  paint(item);
  reach(made, index === state.current);
  return made;
}

function play(thumb, on) {
  const video = thumb.querySelector("video");
  if (!video || !video.src || calm.matches) return;
  if (on) video.play().catch(() => {}); // not allowed, or gone: the still picture stays
  else video.pause();
}

function more() {
  if (state.made >= state.shown.length) return;
  const end = Math.min(state.made + BATCH, state.shown.length);
  const cards = [];
  for (let index = state.made; index < end; index++) cards.push(card(state.shown[index], index));
  state.made = end;
  at("grid").append(...cards);
}

new IntersectionObserver((entries) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  more();
  // Where a batch did not fill the window the mark never left it, and nothing would call again.
  const again = () => { if (at("more").getBoundingClientRect().top < innerHeight + 800 && state.made < state.shown.length) { more(); requestAnimationFrame(again); } };
  requestAnimationFrame(again);
}, { rootMargin: "800px" }).observe(at("more"));

function reach(made, can) {
  for (const button of made.querySelectorAll("button")) button.tabIndex = can ? 0 : -1;
}

function settle(index) {
  const before = state.shown[state.current]?.card;
  if (before) reach(before, false);
  state.current = index;
  reach(state.shown[index].card, true);
}

function go(index) {
  const target = Math.max(0, Math.min(index, state.shown.length - 1));
  while (state.made <= target && state.made < state.shown.length) more();
  state.shown[target]?.card.querySelector(".open").focus();
}

function columns() {
  const cards = at("grid").children;
  let count = 1;
  while (count < cards.length && cards[count].offsetTop === cards[0].offsetTop) count++;
  return count;
}

// -- marks and comparison ---------------------------------------------------------------------------------------------

function paint(item) {
  if (!item.card) return;
  const place = state.marked.indexOf(item) + 1;
  const mark = item.card.querySelector(".mark");
  item.card.classList.toggle("marked", place > 0);
  mark.setAttribute("aria-pressed", String(place > 0));
  mark.setAttribute("aria-label", `Mark for comparison: ${(item.prompt || item.name).slice(0, 80)}`);
  mark.dataset.place = String(place || "");
}

function toggle(item) {
  const before = [...state.marked];
  if (before.includes(item)) state.marked = before.filter((other) => other !== item);
  else state.marked = [...before, item].slice(-MOST_MARKED);
  for (const other of new Set([...before, ...state.marked])) paint(other);
  const count = state.marked.length;
  at("tray").hidden = count === 0;
  at("tray-text").textContent = count < MOST_MARKED ? "1 marked; mark another" : "2 marked";
  at("tray-open").disabled = count < MOST_MARKED;
  if (state.open !== null) labelMark();
  return count;
}

function large(item) {
  const video = item.media_type.startsWith("video/");
  const made = video
    ? element("video", { controls: true, loop: true, playsInline: true, muted: true, autoplay: !calm.matches, ariaLabel: alternative(item) })
    : element("img", { alt: alternative(item), decoding: "async" });
  made.onerror = () => made.parentElement?.classList.add("missing");
  made.src = item.url;
  return made;
}

function rows(item) {
  const share = item.files > 1 ? ` for ${item.files} files` : "";
  return [
    ["prompt", item.prompt], ["negative prompt", item.negative_prompt], ["workflow", titled(item)], ["seed", item.seed],
    ["steps", item.steps], ["time", item.seconds === null ? null : seconds(item.seconds)],
    ["cost", item.cost_usd === null ? null : money(item.cost_usd) + share], ["made", when(item.made_at)],
    ["backend", [item.backend, item.gpu].filter(Boolean).join(", ")], ["tags", item.tags.join(", ")],
    ...Object.entries(item.fields).map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
    ["file", `${item.name} (${size(item.bytes)})`], ["job", item.job],
  ].filter(([, value]) => value !== null && value !== "").map(([name, value]) => [name, String(value)]);
}

function compare() {
  if (state.marked.length < MOST_MARKED) return;
  at("pair").replaceChildren(...state.marked.map((item, index) => element("figure", {}, element("figcaption", { textContent: String(index + 1) }), large(item))));
  const [first, second] = state.marked.map((item) => new Map(rows(item)));
  const body = [];
  for (const name of new Set([...first.keys(), ...second.keys()])) {
    const [one, two] = [first.get(name) ?? "–", second.get(name) ?? "–"];
    if (one === two && !at("all-fields").checked) continue;
    const cell = (text) => element("td", {}, one !== two && at("all-fields").checked ? element("mark", { textContent: text }) : text);
    body.push(element("tr", {}, element("th", { scope: "row", textContent: name }), cell(one), cell(two)));
  }
  at("differences").tBodies[0].replaceChildren(...body);
  if (!at("comparison").open) at("comparison").showModal();
}

// -- one item ---------------------------------------------------------------------------------------------------------

function labelMark() {
  const button = at("details").querySelector(".compare");
  if (button) button.textContent = state.marked.includes(state.shown[state.open]) ? "Unmark" : "Mark to compare";
}

function block(title, text) {
  return element("details", {}, element("summary", { textContent: title }), element("pre", { className: "code", textContent: text }));
}

function view(index) {
  const item = state.shown[index];
  if (!item) return;
  state.open = index;
  at("viewer-title").textContent = `${titled(item)}${item.seed === null ? "" : ` · ${item.seed}`}`;
  at("previous").disabled = index === 0;
  at("next").disabled = index >= state.shown.length - 1;
  at("stage").classList.remove("missing");
  at("stage").replaceChildren(large(item));
  const copy = (what, text, className = "") => element("button",
    { type: "button", id: `copy-${what.toLowerCase()}`, className, textContent: what === "Python" ? "Copy Python" : `Copy ${what.toLowerCase()}`, onclick: () => take(text, what) });
  const needs = item.needs.map((name) => name.replaceAll("_", " ")).join(", ");
  const pairs = rows(item).filter(([name]) => name !== "prompt" && name !== "negative prompt");
  at("details").replaceChildren(
    ...(item.prompt ? [element("p", { className: "label", textContent: "Prompt" }), element("p", { className: "text", id: "prompt", textContent: item.prompt })] : []),
    element("div", { className: "buttons" },
      copy("Command", item.command, "main"), copy("Python", item.python), ...(item.prompt ? [copy("Prompt", item.prompt)] : []),
      element("button", { type: "button", className: "compare", onclick: () => toggle(item) })),
    ...(needs ? [element("p", { className: "note", textContent: `To make it again, give this yourself: ${needs}. It is not stored.` })] : []),
    element("dl", { className: "pairs" }, ...pairs.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })])),
    ...(item.negative_prompt ? [element("p", { className: "label", textContent: "Negative prompt" }), element("p", { className: "text", textContent: item.negative_prompt })] : []),
    block("Command", item.command), block("Python", item.python),
    element("p", {}, element("a", { href: item.url, target: "_blank", rel: "noopener", textContent: "Open the file" })));
  labelMark();
  if (!at("viewer").open) at("viewer").showModal();
}

async function take(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or a browser that has none on file://
    const area = element("textarea", { value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return say("This browser does not let a page copy; the text stands below.");
  }
  say(`${what} copied`);
}

let quiet = 0;
function say(text) {
  const said = at("said");
  (document.querySelector("dialog[open]") ?? document.body).append(said); // above an open dialog
  said.textContent = text;
  said.classList.add("on");
  clearTimeout(quiet);
  quiet = setTimeout(() => said.classList.remove("on"), 1800);
}

// -- keyboard ---------------------------------------------------------------------------------------------------------

const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: () => columns() };

function keyInGrid(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing) { event.preventDefault(); at("text").select(); return; }
  if (event.key === "Escape" && (event.target === at("text") || !state.shown.length)) { at("text").value = ""; choose(); at("text").blur(); return; }
  if (event.target === at("text") && (event.key === "ArrowDown" || event.key === "Enter")) { event.preventDefault(); go(state.current); return; }
  if (typing) return;
  const inside = at("grid").contains(event.target);
  if (event.key in STEPS || event.key === "Home" || event.key === "End") {
    event.preventDefault();
    if (event.key === "Home" || event.key === "End") go(event.key === "Home" ? 0 : state.shown.length - 1);
    else if (!inside) go(state.current);
    else {
      const target = state.current + STEPS[event.key]();
      if (target >= 0 && target < state.shown.length) go(target);
    }
  } else if (event.key === "c" && inside && toggle(state.shown[state.current]) === MOST_MARKED) compare();
}

function keyInViewer(event) {
  if (event.target.matches("video, textarea")) return; // its own keys
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    event.preventDefault();
    view(state.open + (event.key === "ArrowLeft" ? -1 : 1));
  } else if (event.key === "c" && toggle(state.shown[state.open]) === MOST_MARKED && state.marked.includes(state.shown[state.open])) {
    at("viewer").close();
    compare();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (at("viewer").open) keyInViewer(event);
  else if (!document.querySelector("dialog[open]")) keyInGrid(event);
});

// -- beginning --------------------------------------------------------------------------------------------------------

at("title").textContent = data.folder || "Gallery";
document.title = `${data.folder || "Gallery"}: gallery`;
for (const name of [...new Set(data.items.map((item) => item.workflow))].sort()) at("workflow").append(element("option", { value: name, textContent: name.replaceAll("_", "-") }));
at("tools").onsubmit = (event) => event.preventDefault();
for (const id of ["text", "workflow", "kind", "sort"]) at(id).addEventListener(id === "text" ? "input" : "change", choose);
at("previous").onclick = () => view(state.open - 1);
at("next").onclick = () => view(state.open + 1);
at("tray-open").onclick = compare;
at("tray-clear").onclick = () => { for (const item of [...state.marked]) toggle(item); go(state.current); };
at("all-fields").onchange = compare;
at("keys").onclick = () => at("help").showModal();
for (const id of ["viewer", "comparison", "help"]) {
  at(`${id}-close`).onclick = () => at(id).close();
  at(id).onclick = (event) => { if (event.target === at(id)) at(id).close(); };
}
at("viewer").addEventListener("close", () => {
  const index = state.open;
  state.open = null;
  at("stage").replaceChildren(); // a video would go on
  document.body.append(at("said"));
  if (index !== null) go(index);
});
at("comparison").addEventListener("close", () => { at("pair").replaceChildren(); go(state.current); });
choose();
