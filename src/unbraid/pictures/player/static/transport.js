// Plays mixture and stems together, sample by sample in step. They come in pieces as they are needed, so that a
// recording of any length can be heard at once, in the same memory.

const PIECE_SECONDS = 2;
const AHEAD_SECONDS = 1.5;
const CACHE_BYTES = 128e6;
const FADE_SECONDS = 0.006;

export class Transport extends EventTarget {
  // tracks: names, sample_rate, num_channels, num_samples; source.samples(start, count): a buffer for each track.
  constructor(tracks, source) {
    super();
    this.tracks = tracks;
    this.source = source;
    this.total = tracks.num_samples;
    this.rate = tracks.sample_rate;
    this.playing = false;
    this.waiting = false;
    this.loop = null;
    this.looping = false;
    this.context = null;
    this.gains = tracks.names.map(() => 0);
    this.pieceSamples = Math.round(PIECE_SECONDS * this.rate);
    this.pieces = new Map();
    this.place = 0;
    this.runs = [];
    this.turn = 0;
  }

  // The way to the loudspeakers, made when something is heard first: a page of many players keeps few of them.
  open() {
    if (this.context) return;
    this.context = openContext(this.rate);
    this.master = new GainNode(this.context);
    this.master.connect(this.context.destination);
    this.trackGains = this.gains.map((gain) => {
      const node = new GainNode(this.context, { gain });
      node.connect(this.master);
      return node;
    });
  }

  // Where the ear is, in samples.
  get position() {
    if (!this.playing) return this.place;
    const now = (this.context.currentTime - (this.context.outputLatency || 0)) * this.rate;
    let found = null;
    for (const run of this.runs) if (run.frame <= now || found === null) found = run;
    if (found === null) return this.place;
    return Math.max(found.from, Math.min(found.from + found.count, found.from + now - found.frame));
  }

  async play() {
    if (this.playing) return;
    this.open();
    const turn = ++this.turn;
    this.playing = true;
    this.runs = [];
    const loop = this.activeLoop();
    if (this.place >= this.total - 1 || (loop && this.place >= loop[1])) this.place = loop ? loop[0] : 0;
    this.next = Math.round(this.place);
    this.nextFrame = null;
    this.changed();
    await this.context.resume();
    if (turn !== this.turn) return;
    this.master.gain.cancelScheduledValues(0);
    this.master.gain.setValueAtTime(1, this.context.currentTime);
    this.fill(turn);
  }

  pause() {
    if (!this.playing) return;
    this.place = this.position;
    this.halt();
    this.changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  seek(sample) {
    const again = this.playing;
    if (again) this.halt();
    this.place = Math.max(0, Math.min(this.total, Math.round(sample)));
    this.piece(Math.floor(this.place / this.pieceSamples)).catch(() => {});
    this.changed();
    if (again) this.play();
  }

  setLoop(range, looping = range !== null) {
    this.loop = range && range[1] - range[0] >= this.rate / 20 ? [Math.round(range[0]), Math.round(range[1])] : null;
    this.looping = looping && this.loop !== null;
    // What is scheduled already knows nothing of the loop.
    if (this.playing) {
      const place = this.position;
      const outside = this.looping && (place < this.loop[0] || place >= this.loop[1]);
      this.seek(outside ? this.loop[0] : place);
    } else this.changed();
  }

  // Factors, one for each track; they change without a click.
  setGains(gains) {
    this.gains = gains;
    if (!this.context) return;
    const now = this.context.currentTime;
    this.trackGains.forEach((node, index) => {
      node.gain.cancelScheduledValues(now);
      node.gain.setTargetAtTime(gains[index], now, FADE_SECONDS);
    });
  }

  close() {
    if (this.context) this.halt();
    this.pieces.clear();
    this.context?.close();
  }

  activeLoop() {
    return this.looping ? this.loop : null;
  }

  halt() {
    this.turn += 1;
    this.playing = false;
    this.waiting = false;
    clearTimeout(this.timer);
    const now = this.context.currentTime;
    // A new gain in the place of the old one lets what was scheduled fade out beside what comes.
    const old = this.master;
    this.master = new GainNode(this.context);
    this.master.connect(this.context.destination);
    old.gain.setTargetAtTime(0, now, FADE_SECONDS / 2);
    this.trackGains.forEach((node) => {
      node.disconnect();
      node.connect(this.master);
    });
    for (const run of this.runs) for (const source of run.sources) source.stop(now + 4 * FADE_SECONDS);
    setTimeout(() => old.disconnect(), 100);
    this.runs = [];
  }

  // Schedules pieces until some time ahead of the ear, and comes back for more.
  async fill(turn) {
    const soon = () => Math.ceil((this.context.currentTime + 0.05) * this.rate);
    while (turn === this.turn) {
      if (this.nextFrame !== null && this.nextFrame > soon() + AHEAD_SECONDS * this.rate) break;
      const loop = this.activeLoop();
      const inside = loop && this.next < loop[1];
      if (this.next >= this.total) break;
      const index = Math.floor(this.next / this.pieceSamples);
      let buffers = this.pieces.get(index)?.buffers;
      if (!buffers) {
        if (this.nextFrame === null || this.nextFrame < soon()) this.setWaiting(true);
        try {
          buffers = await this.piece(index);
        } catch (error) {
          if (turn !== this.turn) return;
          this.pause();
          this.dispatchEvent(new CustomEvent("problem", { detail: this.source.problem }));
          return;
        }
        if (turn !== this.turn) return;
        this.setWaiting(false);
      }
      const offset = this.next - index * this.pieceSamples;
      const end = Math.min(this.total, inside ? loop[1] : Infinity, (index + 1) * this.pieceSamples);
      const count = end - this.next;
      if (this.nextFrame === null || this.nextFrame < soon()) this.nextFrame = soon();
      this.schedule(buffers, offset, count);
      this.piece(Math.min(index + 1, Math.floor((this.total - 1) / this.pieceSamples))).catch(() => {});
      this.next = inside && end === loop[1] ? loop[0] : end;
    }
    if (turn !== this.turn) return;
    const ended = this.next >= this.total && !this.activeLoop();
    const heard = (this.context.currentTime - (this.context.outputLatency || 0)) * this.rate;
    this.runs = this.runs.filter((run) => run.frame + run.count > heard - this.rate);
    if (ended && this.nextFrame !== null && heard >= this.nextFrame) {
      this.halt();
      this.place = this.total;
      this.changed();
      return;
    }
    this.timer = setTimeout(() => this.fill(turn), ended ? 50 : 200);
  }

  schedule(buffers, offset, count) {
    const sources = buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(this.trackGains[index]);
      source.start(this.nextFrame / this.rate, offset / this.rate, count / this.rate);
      return source;
    });
    this.runs.push({ frame: this.nextFrame, from: this.next, count, sources });
    this.nextFrame += count;
  }

  // The buffers of one piece, one for each track.
  piece(index) {
    const known = this.pieces.get(index);
    if (known) {
      // The last used are the last to go.
      this.pieces.delete(index);
      this.pieces.set(index, known);
      return known.promise;
    }
    const entry = { buffers: null, promise: null };
    entry.promise = this.source.samples(index * this.pieceSamples, this.pieceSamples).then(
      (buffers) => (entry.buffers = buffers),
      (error) => {
        this.pieces.delete(index);
        throw error;
      },
    );
    this.pieces.set(index, entry);
    const bytes = 4 * this.pieceSamples * this.tracks.num_channels * this.tracks.names.length;
    const most = Math.max(4, Math.floor(CACHE_BYTES / bytes));
    for (const key of this.pieces.keys()) {
      if (this.pieces.size <= most) break;
      this.pieces.delete(key);
    }
    return entry.promise;
  }

  setWaiting(waiting) {
    if (this.waiting === waiting) return;
    this.waiting = waiting;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

// At the recording's own rate, so that pieces meet without a seam; browsers bring that to the device's.
function openContext(rate) {
  try {
    return new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  } catch {
    return new AudioContext();
  }
}
