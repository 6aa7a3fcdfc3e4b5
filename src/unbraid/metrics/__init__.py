"""What an estimate is worth: plain functions of (estimate, reference), always in this order, computed in float64.

| file | what |
|---|---|
| ratios | SNR, SI-SDR, SI-SNR, and the improvement of any of them over the mixture |
| bss_eval | SDR, SIR and SAR of BSS eval, mono, 512 taps |
| framewise | SDR, ISR, SIR and SAR of BSS eval v4 by the second, as museval has them |
| csdr | medians of those, and the protocols that papers use |
| song | uSDR in both forms, SNR and SI-SDR of DnR |
| spectral | SNR of spectrograms, log-spectral distance |
| loudness | error of the loudness in LU, after BS.1770 (which `signal.loudness` measures) |
| perceptual | STOI and PESQ, by the extra `quality` |
| assignment | which estimate belongs to which reference |
| energies | the sums behind the ratios, gathered frame by frame from a stream |
| pairs, projection | what the others stand on |
"""
