from trunkline_modelstore.memory import used_share


def test_a_container_is_measured_by_its_limit_without_the_cache_it_can_drop(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 400\n")
    assert used_share(tmp_path) == 0.5


def test_without_a_limit_the_machine_is_measured(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert 0 < used_share(tmp_path) < 1
    assert 0 < used_share(tmp_path / "none") < 1
