"""What can go wrong here in a way that the user can mend: the message names the cure."""


class ClusterError(Exception):
    """The cluster, a program or an image could not be made; the text says why and what to do."""
