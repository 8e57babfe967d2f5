// Laws of playlist.js, checked in a browser: this text follows the module's own in one script. See chromium.rs.

const failures = [];

function law(name, check) {
  try {
    check();
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
  }
}

function equal(actual, expected) {
  const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (one !== other) throw new Error(`${one} is not ${other}`);
}

function throws(action, part) {
  try {
    action();
  } catch (error) {
    if (error.message.includes(part)) return;
    throw new Error(`"${error.message}" does not say "${part}"`);
  }
  throw new Error(`nothing was thrown that says "${part}"`);
}

const BASE = "https://a.example/films/b/master.m3u8?x=1";

law("attributes may hold commas and equals signs inside quotes", () => {
  equal(attributes('A=1,B="x,C=2",D-E=f'), { A: "1", B: "x,C=2", "D-E": "f" });
});

law("a master playlist has its variants by bandwidth and its sounds by group", () => {
  const text = [
    "#EXTM3U",
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="English",DEFAULT=YES,URI="s/en.m3u8"',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="Deutsch",URI="s/de.m3u8"',
    '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="t",NAME="x",URI="t.m3u8"',
    '#EXT-X-STREAM-INF:BANDWIDTH=900,RESOLUTION=640x360,CODECS="avc1.4d401f, mp4a.40.2",AUDIO="s"',
    "# a comment",
    "/high.m3u8",
    "#EXT-X-STREAM-INF:BANDWIDTH=300",
    "low.m3u8",
  ].join("\r\n");
  const { variants, sounds } = parseMaster(text, BASE);
  equal(variants.map(({ bandwidth }) => bandwidth), [300, 900]);
  equal(variants.map(({ url }) => url), ["https://a.example/films/b/low.m3u8", "https://a.example/high.m3u8"]);
  equal(variants[1].codecs, ["avc1.4d401f", "mp4a.40.2"]);
  equal([variants[1].width, variants[1].height, variants[1].soundGroup], [640, 360, "s"]);
  equal(sounds.get("s").map(({ name, isDefault }) => [name, isDefault]), [["English", true], ["Deutsch", false]]);
  equal(sounds.has("t"), false);
});

law("a media playlist places its segments on one time line", () => {
  const text = [
    "#EXTM3U",
    "#EXT-X-TARGETDURATION:4",
    "#EXT-X-MEDIA-SEQUENCE:7",
    '#EXT-X-MAP:URI="init.mp4",BYTERANGE="10@5"',
    "#EXTINF:4.0,a title",
    "a.m4s",
    "#EXT-X-DISCONTINUITY",
    "#EXTINF:2.5",
    "b.m4s",
    "#EXT-X-ENDLIST",
  ].join("\n");
  const { segments, isLive, duration } = parseMedia(text, BASE);
  equal([isLive, duration], [false, 6.5]);
  equal(segments.map(({ number, start, isDiscontinuous }) => [number, start, isDiscontinuous]), [[7, 0, false], [8, 4, true]]);
  equal(segments[0].init, { url: "https://a.example/films/b/init.mp4", range: { first: 5, last: 14 } });
});

law("byte ranges without an offset follow each other, for each address", () => {
  const part = (range, url) => ["#EXTINF:1,", `#EXT-X-BYTERANGE:${range}`, url];
  const text = ["#EXTM3U", ...part("10@0", "a"), ...part("5", "a"), ...part("3@100", "b"), ...part("4", "b")].join("\n");
  const ranges = parseMedia(text, BASE).segments.map(({ range }) => [range.first, range.last]);
  equal(ranges, [[0, 9], [10, 14], [100, 102], [103, 106]]);
});

law("what cannot be played is said in a sentence", () => {
  throws(() => parseMedia("<html>", BASE), "not an HLS playlist");
  throws(() => parseMaster("#EXTM3U\n", BASE), "names no stream");
  throws(() => parseMedia("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n", BASE), "encrypted");
  throws(() => parseMedia("#EXTM3U\na.m4s\n", BASE), "without a duration");
  throws(() => parseMedia("#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:x\na.m4s\n", BASE), "byte range");
  equal(parseMedia("#EXTM3U\n#EXT-X-KEY:METHOD=NONE\n", BASE).segments, []);
});

law("a time has one segment", () => {
  const segments = [0, 4, 8].map((start) => ({ start, duration: 4 }));
  equal([-1, 0, 3.9, 4, 7, 11, 99].map((time) => segmentAt(segments, time)), [0, 0, 0, 1, 1, 2, 2]);
  equal(segmentAt([], 3), -1);
});

law("more is dared with more in the buffer, and going up needs a margin", () => {
  const variants = [100, 300, 900].map((bandwidth) => ({ bandwidth }));
  equal(choose(variants, 0, 20, 2), 0);
  equal(choose(variants, 1000, 0, 0), 1);
  equal(choose(variants, 2000, 20, 0), 2);
  equal(choose(variants, 1000, 20, 0), 1);
  equal(choose(variants, 1000, 20, 2), 2);
  equal(choose(variants, 50, 20, 2), 0);
});

document.body.textContent = failures.length === 0 ? "every law holds" : failures.join("\n");
