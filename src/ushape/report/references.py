"""Works that a report cites. In a text `[@key]` stands for one; `cite` puts name and year in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORKS = {
    "ronneberger": ("Ronneberger et al. 2015", "O. Ronneberger, P. Fischer, T. Brox (2015). U-Net: convolutional "
                    "networks for biomedical image segmentation. MICCAI, LNCS 9351, 234–241."),
    "amgad": ("Amgad et al. 2019", "M. Amgad, H. Elfandy, H. Hussein et al. (2019). Structured crowdsourcing enables "
              "convolutional segmentation of histology images. Bioinformatics 35(18), 3461–3467."),
    "ruifrok": ("Ruifrok and Johnston 2001", "A. C. Ruifrok, D. A. Johnston (2001). Quantification of histochemical "
                "staining by color deconvolution. Anal Quant Cytol Histol 23, 291–299."),
    "macenko": ("Macenko et al. 2009", "M. Macenko, M. Niethammer, J. S. Marron et al. (2009). A method for "
                "normalizing histology slides for quantitative analysis. ISBI, 1107–1110."),
    "tellez": ("Tellez et al. 2018", "D. Tellez, M. Balkenhol, I. Otte-Höller et al. (2018). Whole-slide mitosis "
               "detection in H&E breast histology using PHH3 as a reference to train distilled stain-invariant "
               "convolutional networks. IEEE Trans Med Imaging 37(9), 2126–2136."),
    "loshchilov": ("Loshchilov and Hutter 2019", "I. Loshchilov, F. Hutter (2019). Decoupled weight decay "
                   "regularization. ICLR."),
    "smith": ("Smith and Topin 2018", "L. N. Smith, N. Topin (2018). Super-convergence: very fast training of neural "
              "networks using large learning rates. arXiv:1708.07120."),
    "milletari": ("Milletari et al. 2016", "F. Milletari, N. Navab, S.-A. Ahmadi (2016). V-Net: fully convolutional "
                  "neural networks for volumetric medical image segmentation. 3DV, 565–571."),
    "lin": ("Lin et al. 2017", "T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár (2017). Focal loss for dense object "
            "detection. ICCV, 2980–2988."),
    "szegedy": ("Szegedy et al. 2016", "C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna (2016). Rethinking the "
                "inception architecture for computer vision. CVPR, 2818–2826."),
    "menon": ("Menon et al. 2021", "A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit, S. Kumar (2021). "
              "Long-tail learning via logit adjustment. ICLR."),
    "guided": ("He et al. 2013", "K. He, J. Sun, X. Tang (2013). Guided image filtering. IEEE Trans Pattern Anal Mach "
               "Intell 35(6), 1397–1409."),
    "hinton": ("Hinton et al. 2015", "G. Hinton, O. Vinyals, J. Dean (2015). Distilling the knowledge in a neural "
               "network. arXiv:1503.02531."),
    "sgdr": ("Loshchilov and Hutter 2017", "I. Loshchilov, F. Hutter (2017). SGDR: stochastic gradient descent with "
             "warm restarts. ICLR."),
    "isensee": ("Isensee et al. 2021", "F. Isensee, P. F. Jaeger, S. A. A. Kohl, J. Petersen, K. H. Maier-Hein (2021). "
                "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation. Nat Methods "
                "18, 203–211."),
    "akiba": ("Akiba et al. 2019", "T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama (2019). Optuna: a "
              "next-generation hyperparameter optimization framework. KDD, 2623–2631."),
    "dorfman": ("Dorfman et al. 1992", "D. D. Dorfman, K. S. Berbaum, C. E. Metz (1992). Receiver operating "
                "characteristic rating analysis: generalization to the population of readers and patients with the "
                "jackknife method. Invest Radiol 27, 723–731."),
    "holm": ("Holm 1979", "S. Holm (1979). A simple sequentially rejective multiple test procedure. Scand J Statist 6, "
             "65–70."),
    "benjamini": ("Benjamini and Hochberg 1995", "Y. Benjamini, Y. Hochberg (1995). Controlling the false discovery "
                  "rate: a practical and powerful approach to multiple testing. J R Stat Soc B 57, 289–300."),
    "schuirmann": ("Schuirmann 1987", "D. J. Schuirmann (1987). A comparison of the two one-sided tests procedure and "
                   "the power approach for assessing the equivalence of average bioavailability. J Pharmacokinet "
                   "Biopharm 15, 657–680."),
    "wilcoxon": ("Wilcoxon 1945", "F. Wilcoxon (1945). Individual comparisons by ranking methods. Biometrics Bulletin "
                 "1, 80–83."),
    "phipson": ("Phipson and Smyth 2010", "B. Phipson, G. K. Smyth (2010). Permutation p-values should never be zero: "
                "calculating exact p-values when permutations are randomly drawn. Stat Appl Genet Mol Biol 9, 39."),
    "benavoli": ("Benavoli et al. 2017", "A. Benavoli, G. Corani, J. Demšar, M. Zaffalon (2017). Time for a change: a "
                 "tutorial for comparing multiple classifiers through Bayesian analysis. J Mach Learn Res 18(77), "
                 "1–36."),
    "demsar": ("Demšar 2006", "J. Demšar (2006). Statistical comparisons of classifiers over multiple data sets. "
               "J Mach Learn Res 7, 1–30."),
    "friedman": ("Friedman 1937", "M. Friedman (1937). The use of ranks to avoid the assumption of normality implicit "
                 "in the analysis of variance. J Am Stat Assoc 32(200), 675–701."),
    "nikolov": ("Nikolov et al. 2021", "S. Nikolov, S. Blackwell, A. Zverovitch et al. (2021). Clinically applicable "
                "segmentation of head and neck anatomy for radiotherapy. J Med Internet Res 23(7), e26151."),
    "guo": ("Guo et al. 2017", "C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On calibration of modern neural "
            "networks. ICML, PMLR 70, 1321–1330."),
    "montgomery": ("Montgomery 2017", "D. C. Montgomery (2017). Design and analysis of experiments, 9th edition. "
                   "Wiley."),
}  # fmt: skip
"""key -> (name and year, the work)."""

_MARK = re.compile(r"\[@(\w+)\]")


def cite(text: str) -> str:
    """'AdamW [@loshchilov]' -> 'AdamW (Loshchilov and Hutter 2019)'."""
    return _MARK.sub(lambda found: f"({WORKS[found[1]][0]})", text)


def cited(texts: Sequence[str]) -> list[str]:
    """The works that texts cite, in the order of their names."""
    return sorted(WORKS[key][1] for key in {key for text in texts for key in _MARK.findall(text)})
