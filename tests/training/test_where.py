"""`Where` is written with its first fields in order, in notebooks and by users: their order is a promise."""

from pathlib import Path

from normkd_explore.training import TeacherCache, Where


def test_the_first_fields_keep_their_places():
    cache = TeacherCache("off")
    where = Where(Path("data"), Path("weights"), "cpu", 3, cache, True)
    assert (where.data_root, where.teacher_weights, where.device) == (Path("data"), Path("weights"), "cpu")
    assert (where.workers, where.teacher_cache, where.deterministic) == (3, cache, True)
