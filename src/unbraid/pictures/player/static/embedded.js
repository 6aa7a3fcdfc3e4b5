// Tracks that lie inside the page itself: sounds as data addresses, and a picture of the spectrogram of each.

export class EmbeddedSource {
  // sounds, pictures: elements <audio> and <img>, one of each for a track; they are read when `place` comes into view.
  constructor(place, tracks, sounds, pictures) {
    this.tracks = tracks;
    this.sounds = sounds;
    this.pictures = pictures;
    this.problem = "This browser cannot decode the sounds of this page.";
    this.levels = new Map();
    this.seen = new Promise((resolve) => {
      const watch = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watch.disconnect();
        resolve();
      }, { rootMargin: "800px" });
      watch.observe(place);
    });
  }

  async samples(start, count) {
    const { num_channels: channels, num_samples: total, sample_rate: sampleRate } = this.tracks;
    const whole = await this.decoded();
    const length = Math.max(1, Math.min(count, total - start));
    return whole.map((buffer) => {
      const piece = new AudioBuffer({ length, numberOfChannels: channels, sampleRate });
      for (let channel = 0; channel < channels; channel++) {
        piece.copyToChannel(buffer.getChannelData(channel).subarray(start, start + length), channel);
      }
      return piece;
    });
  }

  async view(track, view, start, stop, columns) {
    await this.seen;
    if (view === "spectrogram") return this.spectrogram(track);
    const buffer = (await this.decoded())[track];
    const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
    const data = new Int8Array(2 * columns);
    for (let column = 0; column < columns; column++) {
      const first = start + Math.floor(((stop - start) * column) / columns);
      const last = Math.max(first + 1, start + Math.floor(((stop - start) * (column + 1)) / columns));
      let low = Infinity;
      let high = -Infinity;
      for (const samples of channels) {
        for (let at = first; at < Math.min(last, samples.length); at++) {
          if (samples[at] < low) low = samples[at];
          if (samples[at] > high) high = samples[at];
        }
      }
      if (low <= high) data.set([Math.round(127 * Math.max(-1, low)), Math.round(127 * Math.min(1, high))], 2 * column);
    }
    return { view, columns, start, stop, data };
  }

  // The picture is white where there is nothing, as on paper.
  async spectrogram(track) {
    if (!this.levels.has(track)) {
      const image = this.pictures[track];
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0);
      const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      const data = Uint8Array.from({ length: canvas.width * canvas.height }, (_, index) => 255 - pixels[4 * index]);
      this.levels.set(track, { view: "spectrogram", columns: canvas.width, start: 0, stop: this.tracks.num_samples, data });
    }
    return this.levels.get(track);
  }

  decoded() {
    this.decoding ??= Promise.all(this.sounds.map((sound) => this.decode(sound.src)));
    return this.decoding;
  }

  async decode(address) {
    const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    return new OfflineAudioContext(1, 1, this.tracks.sample_rate).decodeAudioData(bytes.buffer);
  }
}
