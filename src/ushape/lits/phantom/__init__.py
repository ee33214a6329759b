"""Computed CT volumes of an abdomen with liver and lesions, for where no LiTS volume can be had."""
