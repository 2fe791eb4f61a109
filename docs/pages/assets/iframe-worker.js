// Browsers refuse workers to pages that are opened from disk, so that the search would
// not start. Here a hidden frame stands in for the worker of the search.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      this.ready = new Promise((resolve) => {
        this.start = resolve;
      });
      inner.document.open();
      inner.document.write("<!doctype html><body></body>");
      inner.document.close();
      inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const load = (source) =>
        new Promise((done, failed) => {
          const script = inner.document.createElement("script");
          script.src = source;
          script.onload = done;
          script.onerror = failed;
          inner.document.body.append(script);
        });
      inner.importScripts = (...sources) =>
        sources.reduce((before, one) => before.then(() => load(one)), Promise.resolve());
      load(url).then(this.start);
      this.inner = inner;
    }

    postMessage(data) {
      this.ready.then(() =>
        this.inner.dispatchEvent(new MessageEvent("message", { data }))
      );
    }

    terminate() {
      this.inner.frameElement.remove();
    }
  };
}
