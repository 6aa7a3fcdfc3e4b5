"""Whether a stream begins like audio, asked before gigabytes of it are copied to the disk."""

from __future__ import annotations

_MARKS = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b"fLaC", b"OggS", b"ID3", b".snd", b"dns."),
    *(b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"FLV", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"#!AMR", b"wvpk", b"TTA1"),
    *(
        b"MAC ",
        b"\x0bw",
        b"\x7f\xfe\x80\x01",
        b"DTSHDHDR",
        b"\x06\x0e+4",
        b".RMF",
        b".ra\xfd",
        b"tBaK",
        b"ajkg",
        b"MPCK",
    ),
    *(
        b"MP+",
        b"NIST_1A",
        b"Creative Voice File",
        b"nut/multimedia",
        b"ea3",
        b"EA3",
        b"PVF1",
        b"2BIT",
        b"ALawSoundFile",
    ),
)
"""The first bytes of the containers that are read; MP4 and MPEG are told apart below."""

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"uuid")
_TS_PACKET_BYTES = (188, 192, 204)

SNIFF_BYTES = 65_536
"""ours: MPEG streams may begin with rubbish of some kilobytes."""


def begins_like_audio(head: bytes) -> bool:
    """Whether the first SNIFF_BYTES, or all there is, are known to begin a recording; a few formats have no mark."""
    if head.startswith(_MARKS) or head[4:8] in _MP4_BOXES or head[4:8] == b"\xf8\x72\x6f\xba":
        return True
    for size in _TS_PACKET_BYTES:
        first = head.find(b"G", 0, size)
        if first >= 0 and len(head) > first + 3 * size and all(head[first + k * size] == 0x47 for k in range(4)):
            return True
    return _has_mpeg_frames(head)


def _has_mpeg_frames(head: bytes) -> bool:
    """Whether there are the marks of MP3, MP2 or AAC frames, one where the length of another says."""
    position = head.find(b"\xff")
    while 0 <= position < len(head) - 8:
        if head[position + 1] & 0xF6 == 0xF0:  # AAC in ADTS, whose length is in the frame's head
            length = (head[position + 3] & 3) << 11 | head[position + 4] << 3 | head[position + 5] >> 5
            follower = head[position + length : position + length + 2]
            if length > 7 and follower[:1] == b"\xff" and follower[1:] == head[position + 1 : position + 2]:
                return True
        elif head[position + 1] & 0xE6 in (0xE2, 0xE4):  # MPEG audio of layer 3 or 2
            follower = head.find(head[position : position + 2], position + 24, position + 4096)
            if follower > 0 and (head[follower + 2 : follower + 3] or b"\0")[0] & 0x0C == head[position + 2] & 0x0C:
                return True
        position = head.find(b"\xff", position + 1)
    return False
