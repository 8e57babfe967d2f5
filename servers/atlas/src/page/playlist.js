// HLS playlists (RFC 8216), read into plain objects. No network, no page: `node` can test it.

/** The attributes of a tag, `NAME=value` or `NAME="value"`, as an object of strings (§4.2). */
export function attributes(text) {
  const found = {};
  for (const [, name, quoted, plain] of text.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) {
    found[name] = quoted ?? plain;
  }
  return found;
}

/** Lines that say something; throws unless this is a playlist. */
function lines(text) {
  const all = text.replace(/^\uFEFF/, "").split(/\r?\n/).map((line) => line.trim());
  if (all.shift() !== "#EXTM3U") throw new Error("This is not an HLS playlist.");
  return all.filter((line) => line !== "" && (!line.startsWith("#") || line.startsWith("#EXT")));
}

/** Whether the playlist is one of playlists. */
export function isMaster(text) {
  return /^#EXT-X-STREAM-INF:/m.test(text);
}

/**
 * A master playlist (§4.3.4): `variants`, by ascending bandwidth, and `sounds` by group.
 * All addresses are absolute.
 */
export function parseMaster(text, base) {
  const variants = [];
  const sounds = new Map();
  let next = null;
  for (const line of lines(text)) {
    if (line.startsWith("#EXT-X-STREAM-INF:")) {
      next = attributes(line);
    } else if (line.startsWith("#EXT-X-MEDIA:")) {
      const { TYPE, URI, NAME, DEFAULT, "GROUP-ID": group } = attributes(line);
      if (TYPE !== "AUDIO") continue;
      if (!sounds.has(group)) sounds.set(group, []);
      sounds.get(group).push({ name: NAME ?? "", isDefault: DEFAULT === "YES", url: URI ? new URL(URI, base).href : null });
    } else if (!line.startsWith("#") && next) {
      const [width, height] = (next.RESOLUTION ?? "").split("x").map(Number);
      variants.push({
        url: new URL(line, base).href,
        bandwidth: Number(next.BANDWIDTH) || 0,
        codecs: (next.CODECS ?? "").split(",").map((codec) => codec.trim()).filter(Boolean),
        width: width || 0,
        height: height || 0,
        soundGroup: next.AUDIO ?? null,
      });
      next = null;
    }
  }
  if (variants.length === 0) throw new Error("The playlist names no stream.");
  variants.sort((one, other) => one.bandwidth - other.bandwidth);
  return { variants, sounds };
}

/** `length[@offset]` (§4.3.2.2) after what ended at `end`. */
function byteRange(text, end) {
  const [length, offset] = text.split("@").map(Number);
  const first = offset === undefined ? end : offset;
  if (!Number.isSafeInteger(length) || !Number.isSafeInteger(first) || length < 1) {
    throw new Error("The playlist has a byte range that is none.");
  }
  return { first, last: first + length - 1 };
}

/**
 * A media playlist (§4.3.2, §4.3.3): `segments` with their place on the time line, and whether more will come.
 * All addresses are absolute.
 */
export function parseMedia(text, base) {
  const segments = [];
  let isLive = true;
  let targetDuration = 6;
  let sequence = 0;
  let start = 0;
  let duration = null;
  let range = null;
  let init = null;
  let isDiscontinuous = false;
  const ends = new Map();
  for (const line of lines(text)) {
    const [tag, value] = line.startsWith("#") ? line.split(/:(.*)/s) : [null, line];
    switch (tag) {
      case "#EXT-X-TARGETDURATION":
        targetDuration = Number(value) || targetDuration;
        break;
      case "#EXT-X-MEDIA-SEQUENCE":
        sequence = Number(value) || 0;
        break;
      case "#EXTINF":
        duration = Number.parseFloat(value);
        break;
      case "#EXT-X-BYTERANGE":
        range = value;
        break;
      case "#EXT-X-DISCONTINUITY":
        isDiscontinuous = true;
        break;
      case "#EXT-X-MAP": {
        const { URI, BYTERANGE } = attributes(value);
        if (!URI) throw new Error("The playlist has an initialisation section without an address.");
        init = { url: new URL(URI, base).href, range: BYTERANGE ? byteRange(BYTERANGE, 0) : null };
        break;
      }
      case "#EXT-X-KEY":
        if (attributes(value).METHOD !== "NONE") throw new Error("The stream is encrypted, and this player has no key.");
        break;
      case "#EXT-X-ENDLIST":
        isLive = false;
        break;
      case null: {
        if (duration === null || !(duration >= 0)) throw new Error("The playlist has a segment without a duration.");
        const url = new URL(value, base).href;
        const part = range === null ? null : byteRange(range, ends.get(url) ?? 0);
        if (part) ends.set(url, part.last + 1);
        segments.push({ number: sequence + segments.length, url, range: part, init, start, duration, isDiscontinuous });
        start += duration;
        duration = null;
        range = null;
        isDiscontinuous = false;
        break;
      }
      default:
    }
  }
  return { segments, isLive, targetDuration, duration: start };
}

/** The index of the segment that covers `time`, the last one if all lie before it; -1 of none. */
export function segmentAt(segments, time) {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start + segments[middle].duration > time + 0.01) high = middle;
    else low = middle + 1;
  }
  return Math.min(low, segments.length - 1);
}

/**
 * Which variant to fetch next: the more there is in the buffer, the more is dared.
 *
 * `variants` ascend in bandwidth; `rate` is what the network gave lately in bit/s, 0 if unknown; `ahead` is how many
 * seconds are buffered. Below 4 s only half of the rate is trusted, from 16 s on all of it (the idea of BBA, SIGCOMM
 * 2014, with the measured rate as a ceiling). Going up needs a little more than staying, so that it does not flap.
 */
export function choose(variants, rate, ahead, current) {
  if (rate <= 0) return 0;
  const trust = 0.5 + 0.5 * Math.min(1, Math.max(0, (ahead - 4) / 12));
  let best = 0;
  variants.forEach((variant, index) => {
    const margin = index > current ? 1.15 : 1;
    if (variant.bandwidth * margin <= rate * trust) best = index;
  });
  return best;
}
