Feature: Docker runs hello-world

  @id:hello @container @mutates @req:VAL-3
  Scenario: hello-world is pulled, runs and greets
    Given the container is running
    And hello-world is not in the container
    When hello-world is run
    Then it greets and exits with 0
    And Docker's own record, asked from the node, says the same
    And the image that ran came from the registry
