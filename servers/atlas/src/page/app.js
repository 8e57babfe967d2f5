// The page: lists the catalogue, and shows one entry of it, named by the address's fragment (#/films/a.mp4).

import { Player } from "/.atlas/player.js";

const part = (id) => document.getElementById(id);
const video = part("video");

let entries = [];
let player = null;
let clock = null;

/** An element with attributes and children; text is text, never markup. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes < 10 && unit > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function time(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((value, index) => (index === 0 ? String(value) : String(value).padStart(2, "0"))).join(":");
}

function about({ kind, bytes, duration_s: duration }) {
  const names = { hls: "HLS", dash: "DASH", file: "File" };
  return [names[kind], duration === undefined ? null : time(duration), size(bytes)].filter(Boolean).join(" · ");
}

/** An address as it was before it was encoded; as it is, if that was not UTF-8. */
function readable(href) {
  try {
    return decodeURI(href);
  } catch {
    return href;
  }
}

function card(entry) {
  const picture = entry.poster
    ? element("img", { src: entry.poster, alt: "", loading: "lazy" })
    : element("div", { class: "letter", "aria-hidden": "true" }, [...entry.title][0] ?? "?");
  const link = element("a", { href: `#${entry.href}` }, picture, element("strong", {}, entry.title), element("span", {}, about(entry)), element("code", {}, readable(entry.href)));
  return element("li", {}, link);
}

function list() {
  const words = part("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ title, href }) => words.every((word) => `${title} ${href}`.toLowerCase().includes(word));
  const shown = entries.filter(fits);
  part("list").replaceChildren(...shown.map(card));
  mark();
  const note = part("note");
  if (entries.length === 0) note.textContent = "There is nothing to watch in this directory yet.";
  else if (shown.length === 0) note.textContent = "Nothing has all of these words.";
  else note.textContent = note.dataset.rest ?? "";
}

/** Marks the entry that is on stage. */
function mark() {
  for (const link of part("list").querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function fill(select, label, options, chosen) {
  label.hidden = options.length < 2;
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  select.value = String(chosen);
}

/** The choices there are now. */
function choices() {
  const { variants, variant, wanted, sounds, sound } = player;
  const title = ({ height, bandwidth }) => (height ? `${height}p` : size(bandwidth / 8) + "/s");
  const automatic = variants[variant] ? `Automatic (${title(variants[variant])})` : "Automatic";
  const options = [["auto", automatic], ...variants.map((one, index) => [String(index), title(one)])];
  fill(part("quality"), part("quality-label"), variants.length < 2 ? [] : options, wanted ?? "auto");
  fill(part("sound"), part("sound-label"), sounds.map(({ name }, index) => [String(index), name || `Sound ${index + 1}`]), sound);
}

/** What the player measures. */
function figures() {
  const quality = video.getVideoPlaybackQuality?.();
  const rows = [
    ["Picture", video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : null],
    ["Buffered", Number.isFinite(player.ahead) ? `${player.ahead.toFixed(1)} s` : null],
    ["Network", player.rate ? `${(player.rate / 1e6).toFixed(1)} Mbit/s` : null],
    ["Dropped pictures", quality?.totalVideoFrames ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}` : null],
  ];
  const filled = rows.filter(([, value]) => value !== null);
  part("figures").replaceChildren(...filled.map(([label, value]) => element("div", {}, element("dt", {}, label), element("dd", {}, value))));
}

/** Says what is wrong, and offers to go on from here: a server that was away may be back. */
function trouble(sentence) {
  const again = element("button", { type: "button", class: "button" }, "Try again");
  again.addEventListener("click", () => show(video.currentTime));
  part("trouble").replaceChildren(sentence, " ", again);
  part("trouble").hidden = false;
}

/** Plays with sound if the browser lets us, else without; else the viewer presses the button. */
async function start() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    await video.play().catch(() => {});
  }
}

function leave() {
  clearInterval(clock);
  player?.close();
  player = null;
  part("stage").hidden = true;
  document.title = part("title").textContent;
}

/** Shows what the address names, from the beginning or from where it was. */
function show(from = 0) {
  leave();
  mark();
  const href = location.hash.slice(1);
  if (!href.startsWith("/") || href.startsWith("//")) return;
  const entry = entries.find((one) => one.href === href) ?? guess(href);
  const stage = part("stage");
  stage.hidden = false;
  part("trouble").hidden = true;
  part("trouble").textContent = "";
  part("playing").textContent = entry.title;
  part("address").href = entry.href;
  document.title = `${entry.title} · ${part("title").textContent}`;
  if (entry.poster) video.setAttribute("poster", entry.poster);
  else video.removeAttribute("poster");

  const mine = new Player(video);
  player = mine;
  mine.addEventListener("trouble", ({ detail }) => trouble(detail));
  mine.addEventListener("change", () => {
    if (player === mine) choices();
  });
  choices();
  clock = setInterval(figures, 500);
  mine.load(entry.href, entry.kind).then(() => {
    if (player !== mine) return;
    if (from > 0) video.currentTime = from;
    return start();
  });
  stage.scrollIntoView({ block: "start" });
}

/** An address that the catalogue does not have, such as a signed one. */
function guess(href) {
  const path = href.split("?")[0];
  const kind = path.endsWith(".m3u8") ? "hls" : path.endsWith(".mpd") ? "dash" : "file";
  return { href, kind, title: readable(path).split("/").pop(), bytes: 0 };
}

async function open() {
  try {
    const response = await fetch("/.atlas/catalogue.json");
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    const catalogue = await response.json();
    entries = catalogue.entries;
    part("title").textContent = catalogue.title;
    document.title = catalogue.title;
    const rest = [];
    if (catalogue.truncated) rest.push("There is more here than is listed.");
    if (catalogue.problems > 0) rest.push(`${catalogue.problems} places could not be read; the server's log says which.`);
    part("note").dataset.rest = rest.join(" ");
    part("search").hidden = entries.length < 8;
    list();
  } catch (error) {
    part("note").textContent = `The catalogue cannot be read (${error.message}).`;
  }
  show();
}

part("find").addEventListener("input", list);
part("quality").addEventListener("change", ({ target }) => {
  player.wanted = target.value === "auto" ? null : Number(target.value);
});
part("sound").addEventListener("change", ({ target }) => {
  player.sound = Number(target.value);
});
part("leave").addEventListener("click", (event) => {
  event.preventDefault();
  history.pushState(null, "", location.pathname + location.search);
  show();
});
window.addEventListener("hashchange", () => show());
window.addEventListener("popstate", mark);
open();
