"""Han 2017 (arXiv:1704.07239): a 2.5-D cascade that finds liver and lesions in CT volumes, on data as LiTS has it.

A volume is [z, y, x] everywhere in this room: z rises to the head, y to the back, x to the patient's left, whatever
the file's own order of axes. HU are Hounsfield units, lengths are mm. Labels: 0 background, 1 liver, 2 lesion.
"""
