// Plays a stream in a <video>: HLS with CMAF segments through Media Source Extensions, single files as they are.
//
//   playlist ──▶ Track (picture) ─ init, segments ─▶ SourceBuffer ┐
//            └─▶ Track (sound)   ─ init, segments ─▶ SourceBuffer ┴▶ MediaSource ─▶ <video>
//
// One loop per track: look how much is buffered ahead, fetch what is next, append it, sleep until something happens.
// A seek moves the place the loop looks at; what is on its way for another place is given up.

import { choose, isMaster, parseMaster, parseMedia, segmentAt } from "/.atlas/playlist.js";

const AHEAD_S = 24; // Fetched before it is needed.
const BEHIND_S = 30; // Kept after it was shown.
const TRIES = 4;
const HLS_TYPE = "application/vnd.apple.mpegurl";

/** A sentence for the viewer. */
export class Trouble extends Error {}

/** Plays one thing. Events: `trouble` (detail: sentence), `change` (rendition, sounds or figures are others). */
export class Player extends EventTarget {
  #video;
  #ended = new AbortController();
  #source = null;
  #url = null;
  #tracks = [];
  #rates = { fast: 0, slow: 0 };
  #master = null;
  #variant = 0;
  #wanted = null;
  #sound = null;

  constructor(video) {
    super();
    this.#video = video;
    const { signal } = this.#ended;
    video.addEventListener("error", () => this.#fail(new Trouble(mediaError(video.error))), { signal });
    for (const event of ["seeking", "timeupdate", "play"]) {
      video.addEventListener(event, () => this.#wake(event === "seeking"), { signal });
    }
  }

  /** Variants to choose from, lowest first; empty for a single file. */
  get variants() {
    return this.#master?.variants ?? [];
  }

  /** The index of the variant that is being fetched. */
  get variant() {
    return this.#variant;
  }

  /** The index the viewer chose, or null when the player chooses. */
  get wanted() {
    return this.#wanted;
  }

  set wanted(index) {
    this.#wanted = index;
    // Chosen by hand, it should be seen soon: what is buffered for later is fetched again.
    this.#tracks[0]?.renew();
  }

  /** Sounds to choose from. */
  get sounds() {
    const group = this.variants[0]?.soundGroup;
    return this.#master?.sounds.get(group)?.filter((sound) => sound.url) ?? [];
  }

  get sound() {
    return this.sounds.indexOf(this.#sound);
  }

  set sound(index) {
    this.#sound = this.sounds[index] ?? null;
    const track = this.#tracks[1];
    if (!track || !this.#sound) return;
    track.use(this.#sound.url);
    track.renew();
  }

  /** What the network gave lately, in bit/s; 0 if unknown. */
  get rate() {
    const { fast, slow } = this.#rates;
    return Math.min(fast, slow);
  }

  /** Seconds that can be shown without the network. */
  get ahead() {
    return aheadOf(this.#video.buffered, this.#video.currentTime);
  }

  /** Starts with `url`; `kind` is the catalogue's. */
  async load(url, kind) {
    try {
      if (kind === "hls") await this.#loadStream(url);
      else if (kind === "file") this.#video.src = url;
      else throw new Trouble("This page plays HLS streams and single files. Give the address to a DASH player.");
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Stops, and lets everything go. */
  close() {
    this.#ended.abort();
    for (const track of this.#tracks) track.close();
    this.#video.removeAttribute("src");
    this.#video.load();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  async #loadStream(url) {
    const address = new URL(url, location.href).href;
    const text = await this.text(address);
    const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
    const isOurs = Source && (isMaster(text) || isFragmented(parseMedia(text, address)));
    if (!isOurs) {
      if (this.#video.canPlayType(HLS_TYPE)) {
        this.#video.src = address;
        return;
      }
      throw new Trouble(Source ? "The segments are MPEG transport streams, which this browser does not play." : "This browser has no Media Source Extensions.");
    }
    if (isMaster(text)) {
      this.#master = parseMaster(text, address);
    } else {
      this.#master = { variants: [{ url: address, bandwidth: 0, codecs: [], width: 0, height: 0, soundGroup: null }], sounds: new Map() };
    }
    // What this browser cannot decode is no choice.
    const isPlayable = ({ codecs }) => codecs.length === 0 || Source.isTypeSupported(`video/mp4; codecs="${codecs.join(",")}"`);
    const playable = this.#master.variants.filter(isPlayable);
    if (playable.length === 0) throw new Trouble("This browser plays none of the stream's codecs.");
    // A variant without a picture is for those who cannot see one, or for streams that have none.
    const pictured = playable.filter(({ codecs }) => codecs.length === 0 || !codecs.every(isSound));
    this.#master.variants = pictured.length > 0 ? pictured : playable;
    this.#sound = this.sounds.find((sound) => sound.isDefault) ?? this.sounds[0] ?? null;

    this.#source = new Source();
    this.#url = URL.createObjectURL(this.#source);
    this.#video.disableRemotePlayback = true; // Safari's condition for a managed source.
    this.#video.src = this.#url;
    await once(this.#source, "sourceopen", this.#ended.signal);

    // The first track is the one with variants; a second has the sound if that is apart.
    const { codecs, url: first } = this.variants[0];
    const hasPicture = pictured.length > 0;
    if (!hasPicture) this.#sound = null;
    const own = this.#sound ? codecs.filter((codec) => !isSound(codec)) : codecs;
    const track = (isMain, kind, url, codecs) => new Track(this, this.#video, this.#source, { isMain, kind, url, codecs });
    this.#tracks.push(track(true, hasPicture ? "video" : "audio", first, own));
    if (this.#sound) this.#tracks.push(track(false, "audio", this.#sound.url, codecs.filter(isSound)));
    await Promise.all(this.#tracks.map((track) => track.open()));
    const longest = Math.max(...this.#tracks.map((track) => track.duration));
    this.#source.duration = this.#tracks.some((track) => track.isLive) ? Infinity : longest;
    this.#report();
    for (const track of this.#tracks) track.run().catch((error) => this.#fail(error));
  }

  /** Which variant the picture should use now. */
  pick() {
    const index = this.#wanted ?? choose(this.variants, this.rate, this.ahead, this.#variant);
    if (index !== this.#variant) {
      this.#variant = index;
      this.#report();
    }
    return this.variants[index].url;
  }

  /** All tracks have appended their last segment. */
  onTrackComplete() {
    const isOpen = this.#source?.readyState === "open";
    if (isOpen && this.#tracks.every((track) => track.isComplete)) this.#source.endOfStream();
  }

  /** Fetches bytes, again if the network fails; measures the rate. */
  async bytes(url, range, signal) {
    const begun = performance.now();
    const response = await this.#fetch(url, range, signal);
    const bytes = await response.arrayBuffer();
    const seconds = Math.max(0.001, (performance.now() - begun) / 1000);
    if (bytes.byteLength > 4096) {
      const rate = (8 * bytes.byteLength) / seconds;
      const blend = (old, weight) => (old === 0 ? rate : old + weight * (rate - old));
      this.#rates = { fast: blend(this.#rates.fast, 0.5), slow: blend(this.#rates.slow, 0.15) };
      this.#report();
    }
    return bytes;
  }

  async text(url) {
    return (await this.#fetch(url, null, this.#ended.signal)).text();
  }

  async #fetch(url, range, signal) {
    const headers = range ? { Range: `bytes=${range.first}-${range.last}` } : {};
    for (let attempt = 1; ; attempt += 1) {
      let why;
      try {
        const response = await fetch(url, { headers, signal });
        // A whole where a part was asked for would be appended as the part.
        if (response.ok && (!range || response.status === 206)) return response;
        why = `${response.status} ${response.statusText}`;
        if (response.status >= 400 && response.status < 500 && response.status !== 408 && response.status !== 429) {
          throw new Trouble(`The server answered ${why} for ${name(url)}.`);
        }
      } catch (error) {
        if (signal.aborted || error instanceof Trouble) throw error;
        why = "no answer";
      }
      if (attempt === TRIES) throw new Trouble(`The server cannot be reached (${why} for ${name(url)}).`);
      await sleep(300 * 2 ** attempt, signal);
    }
  }

  #wake(isSeek) {
    for (const track of this.#tracks) track.wake(isSeek);
  }

  #report() {
    this.dispatchEvent(new Event("change"));
  }

  #fail(error) {
    if (this.#ended.signal.aborted || error?.name === "AbortError") return;
    const detail = error instanceof Error ? error.message : String(error);
    this.dispatchEvent(new CustomEvent("trouble", { detail }));
  }
}

/** One SourceBuffer and the segments for it. */
class Track {
  isComplete = false;
  #isStale = false;
  // From the playlist's time line, which begins at 0, to the media's own, which may not; null until it is known.
  #shift = null;
  #isMain;
  #player;
  #video;
  #source;
  #url;
  #list = null;
  // The list is another rendition's: good for finding our place in the one to be read.
  #isOther = false;
  #codecs;
  #buffer = null;
  #init = null;
  #next = null;
  #seeks = 0;
  #ended = new AbortController();
  #fetching = null;
  #wake = () => {};

  constructor(player, video, source, { isMain, kind, url, codecs }) {
    this.#isMain = isMain;
    this.kind = kind;
    this.#player = player;
    this.#video = video;
    this.#source = source;
    this.#url = url;
    this.#codecs = codecs;
  }

  get duration() {
    return this.#list.duration;
  }

  get isLive() {
    return this.#list.isLive;
  }

  /** Reads the playlist and makes the buffer. */
  async open() {
    await this.#read();
    if (!isFragmented(this.#list)) throw new Trouble("The segments are not fragmented MP4.");
    const codecs = this.#codecs.length > 0 ? this.#codecs : await this.#codecsOfInit();
    const type = `${this.kind}/mp4; codecs="${codecs.join(",")}"`;
    try {
      this.#buffer = this.#source.addSourceBuffer(type);
    } catch {
      throw new Trouble(`This browser does not play ${type}.`);
    }
  }

  /** Goes on with another rendition of the same content. */
  use(url) {
    if (url === this.#url) return;
    this.#url = url;
    this.#isOther = true;
    this.#init = null;
    this.#next = null;
    this.isComplete = false;
  }

  /** Fetches again what is buffered and not shown soon. */
  renew() {
    this.#isStale = true;
    this.isComplete = false;
    this.#fetching?.abort();
    this.#wake();
  }

  /** Something happened; a seek makes what is on its way useless. */
  wake(isSeek) {
    if (isSeek) {
      this.isComplete = false;
      // From now on the place on the time line decides, not the order.
      this.#next = null;
      this.#seeks += 1;
      if (aheadOf(this.#buffered, this.#video.currentTime) === 0) this.#fetching?.abort();
    }
    this.#wake();
  }

  close() {
    this.#ended.abort();
    this.#fetching?.abort();
    this.#wake();
  }

  get #buffered() {
    // Gone when the source is closed.
    try {
      return this.#buffer.buffered;
    } catch {
      return { length: 0 };
    }
  }

  /** The loop. */
  async run() {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      if (this.#isStale) await this.#drop();
      const isWanted = aheadOf(this.#buffered, this.#video.currentTime) < AHEAD_S;
      if (isWanted && !this.isComplete) {
        try {
          if (await this.#step()) continue;
        } catch (error) {
          // Given up for a seek, not for good.
          if (error?.name !== "AbortError" || signal.aborted) throw error;
          continue;
        }
      }
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 1000);
      });
    }
  }

  /** Fetches and appends one segment; false when there is none now. */
  async #step() {
    if (this.#isMain) this.use(this.#player.pick());
    this.#fetching = new AbortController();
    const { signal } = this.#fetching;
    if (this.#isOther) await this.#read();
    const { segments } = this.#list;
    const index = this.#index(segments);
    if (index < 0) {
      if (this.isLive) {
        await sleep((this.#list.targetDuration * 1000) / 2, signal);
        await this.#read();
        return true;
      }
      this.isComplete = true;
      this.#player.onTrackComplete();
      return false;
    }
    const segment = segments[index];
    // A seek meanwhile forgets the order; then it must not come back.
    const seeks = this.#seeks;
    if (segment.init && segment.init !== this.#init) {
      const bytes = await this.#player.bytes(segment.init.url, segment.init.range, signal);
      await this.#append(bytes);
      this.#init = segment.init;
    }
    const bytes = await this.#player.bytes(segment.url, segment.range, signal);
    if (signal.aborted) return true;
    await this.#append(bytes);
    if (seeks === this.#seeks) this.#next = segment.number + 1;
    this.#align(segment);
    return true;
  }

  /** The segment to be fetched next; -1 when there is none (yet). */
  #index(segments) {
    if (this.#next !== null) return segments.findIndex((segment) => segment.number >= this.#next);
    // A live stream begins three segments before its end (RFC 8216 §6.3.3).
    if (this.#shift === null && this.isLive) return Math.max(0, segments.length - 4);
    // After a seek or a change: where the buffer ends.
    const time = this.#video.currentTime;
    const place = time + aheadOf(this.#buffered, time) - (this.#shift ?? 0);
    const index = segmentAt(segments, place);
    const isPast = index >= 0 && segments[index].start + segments[index].duration <= place + 0.01;
    return isPast ? -1 : index;
  }

  /** Learns from the first segment where the media's time line lies. */
  #align(segment) {
    if (this.#shift !== null) return;
    const ranges = this.#buffered;
    if (ranges.length === 0) return;
    this.#shift = this.isLive ? ranges.start(0) - segment.start : 0;
    if (this.isLive && this.#isMain) this.#video.currentTime = ranges.start(0) + 0.05;
  }

  /** Lets go of what is buffered from the next segment on. */
  async #drop() {
    this.#isStale = false;
    await this.#settled();
    const ranges = this.#buffered;
    const shift = this.#shift ?? 0;
    const soon = this.#list.segments[segmentAt(this.#list.segments, this.#video.currentTime + 0.5 - shift)];
    const from = soon ? soon.start + soon.duration + shift : 0;
    if (ranges.length > 0 && from < ranges.end(ranges.length - 1)) {
      this.#buffer.remove(from, Infinity);
      await this.#settled();
    }
    this.#next = null;
  }

  async #read() {
    const url = this.#url;
    const before = this.#list;
    const list = parseMedia(await this.#player.text(url), url);
    if (url !== this.#url) return;
    this.#isOther = false;
    // A live list has lost its beginning: its place on the time line is found by the segments' numbers.
    const known = before?.segments.find((segment) => segment.number === list.segments[0]?.number);
    if (known) {
      for (const segment of list.segments) segment.start += known.start;
      list.duration += known.start;
    }
    // The same section is the same object, so that it is not fetched again.
    const inits = new Map((before?.segments ?? []).filter((one) => one.init).map((one) => [one.init.url + JSON.stringify(one.init.range), one.init]));
    for (const segment of list.segments) {
      if (!segment.init) continue;
      const key = segment.init.url + JSON.stringify(segment.init.range);
      if (!inits.has(key)) inits.set(key, segment.init);
      segment.init = inits.get(key);
    }
    if (list.segments.length === 0 && !list.isLive) throw new Trouble("The playlist has no segments.");
    this.#list = list;
  }

  /** Appends, makes room if there is none, and waits until it is done. */
  async #append(bytes) {
    for (let attempt = 1; ; attempt += 1) {
      await this.#settled();
      try {
        // A source that had ended opens again by itself.
        this.#buffer.appendBuffer(bytes);
        await this.#settled();
        break;
      } catch (error) {
        if (this.#video.error) throw new Trouble(mediaError(this.#video.error));
        if (error?.name !== "QuotaExceededError" || attempt === TRIES) throw error;
        await this.#forget(10);
        await sleep(500 * attempt, this.#ended.signal);
      }
    }
    await this.#forget(BEHIND_S);
  }

  /** Lets go of what was shown more than `seconds` ago. */
  async #forget(seconds) {
    const until = this.#video.currentTime - seconds;
    const ranges = this.#buffered;
    if (ranges.length > 0 && until > ranges.start(0)) {
      await this.#settled();
      this.#buffer.remove(ranges.start(0), until);
      await this.#settled();
    }
  }

  async #settled() {
    if (this.#ended.signal.aborted) throw new DOMException("closed", "AbortError");
    if (!this.#buffer.updating) return;
    await new Promise((resolve, reject) => {
      const done = (settle) => () => {
        this.#buffer.removeEventListener("updateend", good);
        this.#buffer.removeEventListener("error", bad);
        settle(new Trouble("A segment cannot be decoded."));
      };
      const good = done(resolve);
      const bad = done(reject);
      this.#buffer.addEventListener("updateend", good);
      this.#buffer.addEventListener("error", bad);
    });
  }

  /** The codecs of a stream whose playlist does not say: a look into the initialisation section. */
  async #codecsOfInit() {
    const { init } = this.#list.segments[0];
    const bytes = new Uint8Array(await this.#player.bytes(init.url, init.range, this.#ended.signal));
    const text = new TextDecoder("latin1").decode(bytes);
    const codecs = [];
    const avc = text.indexOf("avcC");
    if (avc > 0) codecs.push(`avc1.${[...bytes.slice(avc + 5, avc + 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);
    if (text.includes("hvcC")) codecs.push("hvc1.1.6.L120.B0");
    if (text.includes("av1C")) codecs.push("av01.0.08M.08");
    if (text.includes("mp4a")) codecs.push("mp4a.40.2");
    if (text.includes("Opus")) codecs.push("opus");
    if (codecs.length === 0) throw new Trouble("The playlist does not say which codecs the stream has.");
    return codecs;
  }
}

/** Seconds buffered from `time` on; small gaps count as none. */
function aheadOf(ranges, time) {
  for (let index = 0; index < ranges.length; index += 1) {
    if (ranges.start(index) <= time + 0.1 && time < ranges.end(index)) return ranges.end(index) - time;
  }
  return 0;
}

/** Whether the segments are what Media Source Extensions take: fragmented MP4. */
function isFragmented({ segments }) {
  return segments.length === 0 || segments[0].init !== null || /\.(m4s|mp4|cmf[va])(\?|$)/.test(segments[0].url);
}

function isSound(codec) {
  return /^(mp4a|ac-3|ec-3|opus|flac|fLaC|Opus)/.test(codec);
}

function name(url) {
  const encoded = new URL(url).pathname.split("/").pop();
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded; // A name that is not UTF-8.
  }
}

function mediaError(error) {
  const kinds = ["", "Loading was given up.", "The network failed.", "The stream cannot be decoded.", "This browser does not play this file."];
  return kinds[error?.code] ?? "The video cannot be played.";
}

function once(target, event, signal) {
  return new Promise((resolve, reject) => {
    target.addEventListener(event, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("closed", "AbortError")), { once: true });
  });
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("closed", "AbortError"));
    }, { once: true });
  });
}
