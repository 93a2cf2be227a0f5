"""What all tests share: no deadline for generated examples, and folders that every module may use."""

from hypothesis import settings

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
