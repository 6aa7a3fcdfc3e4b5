from unbraid.cli.tables import make_console, make_table


def test_no_name_in_a_table_or_a_line_steers_the_terminal(capsys):
    console = make_console()
    table = make_table("track", "SNR")
    table.add_row("a\x1b[31mred", "1.0")
    console.print(table)
    console.print("two\nlines of b\x1b[31mred", markup=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"a\x1b[31mred" in out
    assert "two\nlines of b\\x1b[31mred" in out
