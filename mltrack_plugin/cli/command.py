"""What every command does with its words before it runs."""

from __future__ import annotations

import click

#: Options whose second value would replace the first without a word, where a user expects both.
_ONCE = {"--input", "--tracks"}


class Command(click.Command):
    """A command that takes one input: a second one would replace the first without a word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does.

        Raises:
            click.UsageError: naming an option that is given more than once, or a word that is no UTF-8.
        """
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError:
                ctx.fail(
                    f"{word.encode(errors='replace').decode()!r} is not valid UTF-8: rename the file first"
                )
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        options = [
            one for one in given if not getattr(one, "multiple", False) and _ONCE.intersection(one.opts)
        ]
        for option in options:
            if options.count(option) > 1:
                ctx.fail(f"{option.opts[0]} is given {options.count(option)} times; it takes one value")
        return super().parse_args(ctx, args)
