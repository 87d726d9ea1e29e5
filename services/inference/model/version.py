"""A version of a registered model, as the registry tells of it and as processes and files pass it on."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model. Two are equal where there is nothing new to be loaded."""

    name: str
    version: str
    run_id: str
    created_ms: int
    """when it was registered: tells version 1 of this registry from version 1 of one that was deleted"""
    model_id: str
    """the logged model that it points at"""
    signed_by: str
    """which key it says that it is signed with, empty where it says nothing; not trusted, but when it changes the
    version is worth another look"""
    description: str = field(default="", compare=False)
    tags: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"
