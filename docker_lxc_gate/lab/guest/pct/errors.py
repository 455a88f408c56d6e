"""The one error of the front end."""


class PctError(Exception):
    """Ends the command: ``str()`` of it goes to standard error, as it is, and ``code`` is the exit.

    Proxmox ends with Perl's errno where one is set: 2 for what does not exist and for wrong
    usage, else 255.
    """

    def __init__(self, text: str, code: int = 255) -> None:
        super().__init__(text)
        self.code = code
