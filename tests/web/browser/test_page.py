"""What a visitor does, from the upload to the download."""

import base64
import re
import zipfile

import numpy as np
import soundfile
from playwright.sync_api import expect

from tests.web.conftest import noise, wav
from unbraid.separation.separator import Separator


def send(page, *recordings):
    page.locator("body.ready").wait_for()
    page.set_input_files(
        "#files", [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in recordings]
    )


def row(page, name):
    return page.locator(".row", has_text=name)


def listen(page, name):
    """Opens the player of a recording."""
    page.get_by_role("link", name=f"Listen to {name}").click()
    page.locator(".transport").wait_for()


def player(page, expression):
    return page.evaluate(f"() => document.querySelector('#player').player.{expression}")


def test_a_recording_is_sent_separated_heard_and_saved(serve, visit, choices, tmp_path):
    data = wav(noise(3.0, channels=2))
    page = visit(serve())
    send(page, ("talk.wav", data))
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")
    expect(row(page, "talk.wav")).to_contain_text("Dialogue, Music, Effects")
    listen(page, "talk.wav")
    expect(page.get_by_role("heading", name="talk.wav")).to_be_visible()
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_timeout(600)
    assert player(page, "transport.position") > 0
    page.keyboard.press("Shift+Home")
    (tmp_path / "talk.wav").write_bytes(data)
    expected = Separator(choices.get("stems").source, device="cpu").separate(tmp_path / "talk.wav")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("Download Music")).click()
    assert download.value.suggested_filename == "talk - music.wav"
    heard, rate = soundfile.read(download.value.path())
    assert rate == 8000
    np.testing.assert_allclose(heard, expected["music"].samples.T, atol=1 / 32_768)
    page.get_by_role("link", name="Back to all recordings").click()
    page.reload()
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")
    page.get_by_role("button", name="Remove talk.wav and its stems").click()
    expect(page.locator("#empty")).to_be_visible()


def test_solo_mute_gain_and_the_recording_by_keyboard(serve, visit):
    page = visit(serve())
    send(page, ("talk.wav", wav(noise(2.0))))
    listen(page, "talk.wav")
    assert player(page, "transport.gains") == [0, 1, 1, 1]
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Solo Music")).to_have_attribute("aria-pressed", "true")
    assert player(page, "transport.gains") == [0, 0, 1, 0]
    page.keyboard.press("2")
    page.keyboard.press("Shift+Digit1")
    expect(page.get_by_role("button", name="Mute Dialogue")).to_have_attribute("aria-pressed", "true")
    assert player(page, "transport.gains") == [0, 0, 1, 1]
    page.get_by_role("slider", name="Gain of Effects").fill("-20")
    assert player(page, "transport.gains") == [0, 0, 1, 0.1]
    page.keyboard.press("Home")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save remix").click()
    assert download.value.suggested_filename == "talk - remix.wav"
    page.locator("#main").focus()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Recording")).to_have_attribute("aria-pressed", "true")
    assert player(page, "transport.gains") == [1, 0, 0, 0]
    page.keyboard.press("a")
    page.keyboard.press("0")
    assert player(page, "transport.gains") == [0, 1, 1, 1]


def test_loop_zoom_and_pictures(serve, visit):
    page = visit(serve())
    send(page, ("talk.wav", wav(noise(4.0))))
    listen(page, "talk.wav")
    page.locator("#main").focus()
    for key in ("Shift+ArrowRight", "[", "Shift+ArrowRight", "]"):
        page.keyboard.press(key)
    assert player(page, "transport.loop") == [8000, 16_000]
    expect(page.get_by_role("button", name="Loop")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(" ")
    page.wait_for_timeout(2500)
    assert 8000 <= player(page, "transport.position") <= 16_000
    assert player(page, "transport.playing")
    page.keyboard.press(" ")
    page.keyboard.press("+")
    assert player(page, "to") - player(page, "from") == 16_000
    page.keyboard.press("v")
    expect(page.get_by_role("button", name="Spectrogram")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(500)
    drawn = page.evaluate(
        "() => [...document.querySelectorAll('.wave')].map((canvas) => new Set(canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data).size)"
    )
    assert min(drawn) > 10


def test_what_is_heard_is_the_mixture_sample_by_sample(serve, visit):
    """Pieces meet without a gap: the mixture, played into a buffer instead of the loudspeakers, is the recording."""
    samples = noise(5.0)
    page = visit(serve())
    send(page, ("talk.wav", wav(samples)))
    listen(page, "talk.wav")
    heard = page.evaluate(
        """async () => {
          const { transport } = document.querySelector('#player').player;
          const offline = new OfflineAudioContext(1, 5 * 8000, 8000);
          for (let index = 0; index < 3; index++) {
            const source = new AudioBufferSourceNode(offline, { buffer: (await transport.piece(index))[0] });
            source.connect(offline.destination);
            source.start((index * transport.pieceSamples) / 8000);
          }
          return [...(await offline.startRendering()).getChannelData(0)];
        }"""
    )
    np.testing.assert_allclose(heard, samples[:, 0], atol=1e-4)


def test_cancel_wrong_files_and_too_large_ones(serve, visit, monkeypatch):
    monkeypatch.setattr("unbraid.web.queue.SeparationQueue._work", lambda *_: None)
    page = visit(serve(max_upload_bytes=50_000))
    send(page, ("talk.wav", wav(noise(1.0))), ("notes.wav", b"these are no samples at all, only words" * 20))
    expect(page.locator(".toast")).to_contain_text("'notes.wav'")
    expect(row(page, "talk.wav")).to_contain_text("next in the queue")
    page.get_by_role("button", name="Cancel talk.wav").click()
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "cancelled")
    send(page, ("long.wav", wav(noise(9.0))))
    expect(page.locator(".toast").last).to_contain_text("“long.wav” is larger than 50 kB")
    assert row(page, "long.wav").count() == 0


def test_two_visitors_see_their_own_recordings(serve, visit):
    server = serve()
    first, second = visit(server), visit(server)
    send(first, ("one.wav", wav(noise(1.0))))
    send(second, ("two.wav", wav(noise(1.0, seed=1))))
    expect(row(first, "one.wav")).to_have_attribute("data-state", "done")
    expect(row(second, "two.wav")).to_have_attribute("data-state", "done")
    assert row(first, "two.wav").count() == row(second, "one.wav").count() == 0


def test_a_server_that_is_started_again_goes_on(serve, visit, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("unbraid.web.queue.SeparationQueue._work", lambda *_: None)
        server = serve()
        page = visit(server)
        send(page, ("talk.wav", wav(noise(1.0))))
        expect(row(page, "talk.wav")).to_contain_text("next in the queue")
        server.stop()
    server.start()
    # Without a reload: the stream of events finds the server again.
    expect(row(page, "talk.wav")).to_have_attribute("data-state", "done")


def test_the_token_lets_in(serve, visit):
    server = serve(token="a long secret")
    page = visit(server)
    page.locator("#token").fill("wrong words")
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#login-problem")).to_contain_text("That is not the token")
    page.locator("#token").fill("a long secret")
    page.get_by_role("button", name="Open").click()
    page.locator("body.ready").wait_for()
    linked = visit(server, "/#token=a%20long%20secret")
    linked.locator("body.ready").wait_for()
    assert "token" not in linked.url


LATE_ANSWERS = """() => {
  const real = window.fetch;
  window.fetch = async (...given) => {
    const answer = await real(...given);
    if (String(given[0]).includes("separations?")) await new Promise((go) => setTimeout(go, 1000));
    return answer;
  };
}"""


def test_several_recordings_are_dropped_followed_and_saved_as_one_zip(serve, visit):
    page = visit(serve())
    page.locator("body.ready").wait_for()
    # Both are sent before the first answer about either: what it says of one must not end the watch over the other.
    page.evaluate(LATE_ANSWERS)
    files = [(f"{name}.wav", base64.b64encode(wav(noise(1.0))).decode()) for name in ("one", "two")]
    page.evaluate(
        """(files) => {
          const data = new DataTransfer();
          for (const [name, text] of files) {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], name, { type: "audio/wav" }));
          }
          document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        files,
    )
    for name, _ in files:
        expect(row(page, name)).to_have_attribute("data-state", "done")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all stems of two.wav").click()
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert names == ["two/dialogue.wav", "two/music.wav", "two/effects.wav", "two/separation.json"]
